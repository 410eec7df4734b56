/** The rooms of a plugin. */

import type { WSConnection } from './connection.js';
import type { WSListener } from './handlers.js';

/** The events of a {@link WSRoomManager} with the arguments of their listeners. */
export interface WSRoomEvents {
  /** The first connection has entered a room. */
  'room:created': [room: string];
  /** The last connection has left a room. */
  'room:destroyed': [room: string];
}

/** The rooms of one plugin, reached from HTTP handlers as `ctx.wsRooms`. */
export interface WSRoomManager {
  /**
   * Sends one message to everyone in the room, except `exclude` where it is given. A room without
   * members is no error.
   *
   * @throws {TypeError} if an argument is of another type.
   */
  broadcast(room: string, data: string | Buffer, exclude?: WSConnection): void;

  /** Names of the rooms that have members at the moment. */
  getRooms(): string[];

  /** Adds a listener for a room event. */
  on<E extends keyof WSRoomEvents>(event: E, listener: WSListener<WSRoomEvents[E]>): this;

  /** Adds a listener for the next room event of that name. */
  once<E extends keyof WSRoomEvents>(event: E, listener: WSListener<WSRoomEvents[E]>): this;

  /** Removes a listener. */
  off<E extends keyof WSRoomEvents>(event: E, listener: WSListener<WSRoomEvents[E]>): this;
}
