import type {
  WebSocketMethods,
  WebSocketPluginConstructorOptions,
  WSSocket,
  WSSocketData,
} from '../../index.js';
import { WebSocketPlugin } from '../../index.js';

/** How a client of a {@link TestWebSocketPlugin} asks for a connection. */
export interface TestConnectOptions {
  /** Headers of the upgrade request beside those of every handshake. */
  headers?: Record<string, string> | undefined;
  /** Subprotocols that are offered (RFC 6455 §1.9). */
  protocols?: string[] | undefined;
  /**
   * IP address of the client's end, as its socket would have it: that of a proxy, where `trustProxy` and
   * `X-Forwarded-For` among the headers say whose client it is.
   *
   * @default '127.0.0.1'
   */
  remoteAddress?: string | undefined;
}

/**
 * A {@link WebSocketPlugin} without a network: its clients are in the same process, and what one side
 * says, the other has at once. Options, routes, middleware, handlers, rooms, events and refusals are those
 * of the real one; there is no clock behind it, so fake timers decide about everything that takes time. Nor is there
 * anything that only a network needs: no heartbeat, compression, backpressure, `maxMessageSize`,
 * `messageRate` or `cluster`, and `metrics()` counts nothing of its connections.
 *
 * @typeParam Data The type of {@link WSSocket.data}.
 *
 * @example
 * const plugin = new TestWebSocketPlugin({ path: '/chat' });
 * addChat(plugin.app); // what calls `ws` and `wsUse`
 * const ada = await plugin.connect('/chat');
 * const bob = await plugin.connect('/chat');
 * ada.send('hello');
 * expect(bob.received).toEqual(['hello']);
 */
export declare class TestWebSocketPlugin<
  Data extends object = WSSocketData,
> extends WebSocketPlugin<Data> {
  constructor(options?: WebSocketPluginConstructorOptions);

  /** The methods that an application has, for code that adds routes and middleware. */
  readonly app: WebSocketMethods<Data>;

  /**
   * Connects a client, by way of everything that a request meets: HTTP middleware where the plugin is
   * installed on an application, `allowOrigins`, `verifyClient`, middleware and handler. Resolves when the
   * connection is open, and middleware and handler have come to where they wait for a timer, the network or a
   * file: a client that they have closed is {@link TestClient.closed} by then.
   *
   * @param url Path and query.
   * @throws {ConnectionRefused} where the client is not let in.
   */
  connect(url?: string, options?: TestConnectOptions): Promise<TestClient<Data>>;
}

/**
 * The client of a connection without a network.
 *
 * @typeParam Data The type of {@link WSSocket.data}.
 */
export interface TestClient<Data extends object = WSSocketData> {
  /** The server's end of the connection: what handlers and middleware were given. */
  readonly socket: WSSocket<Record<string, string>, Data>;
  /** All messages that have come, in order: text as a string, binary as a Buffer. */
  readonly received: (string | Buffer)[];
  /** How the connection has ended; `null` while it is open. */
  readonly closed: { code: number; reason: string } | null;
  /** How many pings have come. They are answered by {@link TestClient.pong} only. */
  readonly pings: number;
  /**
   * The first message that `next` has not returned yet, as soon as there is one. Rejects once the
   * connection has ended.
   */
  next(): Promise<string | Buffer>;
  /** The same, parsed as JSON. */
  nextJson<T = unknown>(): Promise<T>;
  /** Sends a message: its listeners have run when this returns. Does nothing once it has ended. */
  send(data: string | Buffer | Uint8Array | ArrayBuffer): void;
  /** Sends a value as JSON in a text message. */
  json(value: unknown): void;
  /**
   * Closes the connection as clients do.
   *
   * @param code Close code; the server is told 1005 without one.
   * @throws {RangeError} for a code that may not be sent, or a reason of more than 123 bytes.
   */
  close(code?: number, reason?: string): void;
  /** Vanishes without a closing handshake: the server is told 1006. */
  drop(): void;
  /** Answers a ping. */
  pong(): void;
}

/** What a client is told that is not let in. */
export declare class ConnectionRefused extends Error {
  /** Status of the HTTP response; 0 where the request was cut off without one. */
  readonly status: number;
  /** Headers of the response, by their names in lower case. */
  readonly headers: Record<string, string>;
  /** Body of the response. */
  readonly body: string;
}

/** How a {@link Client} connects. */
export interface ConnectOptions {
  /** Headers of the upgrade request, such as `Cookie` or `Origin`. */
  headers?: Record<string, string> | undefined;
  /** Subprotocols that are offered. */
  protocols?: string[] | undefined;
  /**
   * Who may have issued the server's certificate, in PEM, for `wss:`.
   *
   * @default what Node trusts
   */
  ca?: string | Buffer | undefined;
}

/**
 * Connects to a server that listens, by the package `ws`, which has to be installed: an independent
 * client. Resolves when the connection is open.
 *
 * @throws {ConnectionRefused} where the server answers with anything but an upgrade.
 */
export declare function connect(url: string, options?: ConnectOptions): Promise<Client>;

/** A client with everything that comes in a queue. */
export interface Client {
  /** The subprotocol that was agreed on, or an empty string. */
  readonly protocol: string;
  /** Messages that have come and that `next` has not returned. */
  readonly waiting: readonly (string | Buffer)[];
  /** The next message. Rejects once the connection has ended and all have been returned. */
  next(): Promise<string | Buffer>;
  /** The same, parsed as JSON. */
  nextJson<T = unknown>(): Promise<T>;
  send(data: string | Buffer | Uint8Array): void;
  /** Sends a value as JSON in a text message. */
  json(value: unknown): void;
  /** Starts the closing handshake, and resolves with how the connection has ended. */
  close(code?: number, reason?: string): Promise<{ code: number; reason: string }>;
  /** Cuts the connection. */
  terminate(): void;
  /** Resolves with how the connection has ended. */
  readonly closed: Promise<{ code: number; reason: string }>;
}
