/** The connections of a plugin. */

import type { WSConnection } from './connection.js';
import type { WSSocket, WSSocketData } from './socket.js';

/**
 * The connections of one plugin, on this server: each from the moment on at which it has passed all
 * middleware, as for broadcasts to everyone, until its `onClose` listeners are called. One that is being
 * closed is still there.
 *
 * A loop over them goes over those who are there when it begins, without who has ended meanwhile. It may take
 * its time, with an `await` in it as well.
 *
 * @typeParam Data The type of {@link WSSocket.data}.
 *
 * @example
 * for (const socket of wsPlugin.connections) socket.close(1012, 'restart');
 */
export interface WSConnections<Data extends object = WSSocketData>
  extends Iterable<WSSocket<Record<string, string>, Data>> {
  /** How many there are. Costs the same for any number. */
  readonly size: number;

  /**
   * The connection that was given this {@link WSConnection.id}, or `undefined` where it has ended, is not
   * that far, or never was. Costs the same for any number of connections. An id is not used again, not
   * by other processes either, so one that was stored leads to nobody else.
   *
   * @throws {TypeError} if `id` is not a string.
   */
  get(id: string): WSSocket<Record<string, string>, Data> | undefined;
}
