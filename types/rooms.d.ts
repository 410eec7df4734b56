/** The rooms of a plugin. */

import type { WSConnection } from './connection.js';
import type { WSListener } from './handlers.js';
import type { WebSocketPlugin } from './plugin.js';
import type { WSSocket, WSSocketData } from './socket.js';

/** The events of a {@link WSRoomManager} with the arguments of their listeners. */
export interface WSRoomEvents {
  /** The first connection has entered a room. */
  'room:created': [room: string];
  /** The last connection has left a room. */
  'room:destroyed': [room: string];
}

/** Options of {@link WSRoomManager.broadcast}. */
export interface WSBroadcastOptions {
  /** Who does not get it, in a room or not. A connection of another plugin is nobody here. */
  except: WSConnection | readonly WSConnection[] | undefined;
}

/**
 * The rooms of one plugin: {@link WebSocketPlugin.rooms}, and `ctx.wsRooms` in HTTP handlers. With option
 * `cluster` a broadcast reaches the members on all servers; all else is of this server.
 *
 * @typeParam Data The type of {@link WSSocket.data}.
 */
export interface WSRoomManager<Data extends object = WSSocketData> {
  /** How many rooms have members at the moment. Costs the same for any number. */
  readonly size: number;

  /**
   * Sends one message to everyone in the room, except `exclude` where it is given. For several rooms, who
   * is in more than one of them gets it once. A room without members is no error.
   *
   * @throws {TypeError} if an argument is of another type.
   */
  broadcast(
    room: string | readonly string[],
    data: string | Buffer,
    exclude: WSConnection | WSBroadcastOptions | undefined,
  ): void;
  broadcast(room: string | readonly string[], data: string | Buffer): void;
  broadcast(room: string, data: string | Buffer, exclude?: WSConnection): void;

  /**
   * The members of a room at the moment, in no order: an array of the caller's own. A connection is a
   * member until its `onClose` listeners are called, also while it is being closed.
   *
   * @throws {TypeError} if `room` is not a string.
   */
  members(room: string): WSSocket<Record<string, string>, Data>[];

  /**
   * How many members a room has. Costs the same for any number.
   *
   * @throws {TypeError} if `room` is not a string.
   */
  count(room: string): number;

  /**
   * Whether a room has members.
   *
   * @throws {TypeError} if `room` is not a string.
   */
  has(room: string): boolean;

  /**
   * Names of the rooms that a connection is in, in no order. None for a connection of another plugin.
   *
   * @throws {TypeError} if `socket` is not a connection.
   */
  of(socket: WSConnection): string[];

  /**
   * Closes the connections of all members, as {@link WSConnection.close} does, and returns of how many. The
   * room is gone once they have ended.
   *
   * @throws {TypeError} if an argument is of another type.
   * @throws {RangeError} for a code that may not be sent, or a reason of more than 123 bytes.
   */
  close(room: string, code?: number | undefined, reason?: string | undefined): number;

  /** Names of the rooms that have members at the moment, oldest first. */
  getRooms(): string[];

  /** Adds a listener for a room event. */
  on<E extends keyof WSRoomEvents>(event: E, listener: WSListener<WSRoomEvents[E]>): this;

  /** Adds a listener for the next room event of that name. */
  once<E extends keyof WSRoomEvents>(event: E, listener: WSListener<WSRoomEvents[E]>): this;

  /** Removes a listener. */
  off<E extends keyof WSRoomEvents>(event: E, listener: WSListener<WSRoomEvents[E]>): this;
}
