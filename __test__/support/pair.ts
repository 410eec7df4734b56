/** One connection with both of its ends in hand: the client's and the server's. */
import type { WSSocket } from '../../index.js';
import { type Client, connect } from './client.js';
import { type Queue, queue } from './events.js';
import { type RawClient, rawUpgrade } from './raw.js';
import { type Served, type ServeOptions, serve } from './server.js';

export interface End {
  code: number;
  reason: string;
}

/** A server on `/ws` that keeps what happens to its connections. */
export interface Recorded extends Served {
  sockets: Queue<WSSocket>;
  /** Messages of all connections. */
  messages: Queue<string | Buffer>;
  /** What `onClose` listeners were told. */
  ends: Queue<End>;
}

export interface ServerEnd extends Recorded {
  socket: WSSocket;
}

/** Serves `/ws`; `handler` runs behind the listeners that record. */
export async function serveRecorded(
  options: ServeOptions = {},
  handler: (socket: WSSocket) => void = () => {},
): Promise<Recorded> {
  const sockets = queue<WSSocket>();
  const messages = queue<string | Buffer>();
  const ends = queue<End>();
  const served = await serve(options, ({ wsApp }) => {
    wsApp.ws('/ws', (socket) => {
      socket.onMessage((data) => messages.push(data));
      socket.onClose((code, reason) => ends.push({ code, reason }));
      handler(socket);
      sockets.push(socket);
    });
  });
  return { ...served, sockets, messages, ends };
}

/** A connection whose client is `ws`. */
export async function pair(
  options?: ServeOptions,
  handler?: (socket: WSSocket) => void,
): Promise<ServerEnd & { client: Client }> {
  const recorded = await serveRecorded(options, handler);
  const client = await connect(recorded.url());
  return { ...recorded, client, socket: await recorded.sockets.next() };
}

/** A connection whose client writes bytes. */
export async function rawPair(
  options?: ServeOptions,
  handler?: (socket: WSSocket) => void,
): Promise<ServerEnd & { client: RawClient }> {
  const recorded = await serveRecorded(options, handler);
  const client = await rawUpgrade(recorded.port);
  return { ...recorded, client, socket: await recorded.sockets.next() };
}

/** Handler that sends every message back. */
export function echo(socket: WSSocket): void {
  socket.onMessage((data) => socket.send(data));
}
