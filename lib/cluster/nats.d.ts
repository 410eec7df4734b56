import type { WSClusterAdapter } from '../../index.js';

/** What {@link natsAdapter} can be told. */
export interface NatsAdapterOptions {
  /**
   * Stands before the subjects: servers with different prefixes do not hear each other. 1 to 64
   * letters, digits, `_` and `-`, with single points between them.
   *
   * @default 'nextrush-ws'
   */
  prefix?: string | undefined;
}

/**
 * The part of a connection to NATS that is used: a `NatsConnection` of the package `nats` (2.x) has it,
 * as has that of `@nats-io/transport-node` (3.x).
 */
export interface NatsConnectionLike {
  readonly info?: { readonly max_payload?: number | undefined } | undefined;
  publish(subject: string, payload: Uint8Array): void;
  subscribe(
    subject: string,
    options: { callback(error: Error | null, message: { data: Uint8Array }): void },
  ): { unsubscribe(): void };
  flush(): Promise<void>;
  status(): AsyncIterable<{ type: string }>;
  // biome-ignore lint/suspicious/noConfusingVoidType: as the client declares it
  closed(): Promise<void | Error>;
}

/**
 * Joins servers over NATS: the value of option `cluster`.
 *
 * The connection stays the application's, which closes it after the plugin's `cleanup()`. Have it
 * connect again for ever: by itself the client gives up after ten attempts, and does not begin before
 * there is a server. Messages that are longer than the server's `max_payload` are sent in parts.
 *
 * @param connection One connection may serve several adapters, and the application itself.
 * @throws {TypeError} for a connection or an option that is none.
 *
 * @example
 * const connection = await connect({ maxReconnectAttempts: -1, waitOnFirstConnect: true });
 * const wsPlugin = new WebSocketPlugin({ cluster: natsAdapter(connection) });
 */
export function natsAdapter(
  connection: NatsConnectionLike,
  options?: NatsAdapterOptions,
): WSClusterAdapter;
