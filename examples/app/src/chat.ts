/** The chat: what happens on a connection. Knows neither HTTP routes nor where it is served. */

import type { WebSocketMethods, WSRoomManager, WSSocket } from 'nextrush-websocket';
import type { History } from './history.js';
import type { Session, Sessions, User } from './sessions.js';

/** Close codes of this application. */
export const SESSION_OVER = 4001;
export const KICKED = 4003;

/** What is known of a connection. */
export interface Member {
  session: Session;
}

/** What a client may send. */
interface Message {
  type?: unknown;
  text?: unknown;
  /** The id of a user. */
  to?: unknown;
}

const LONGEST_TEXT = 2000;
/** Timers take no more, some 25 days. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** The room of all connections of one user. */
export const roomOf = ({ id }: { id: unknown }) => `user ${id}`;

export function addChat(
  app: WebSocketMethods<Member>,
  rooms: WSRoomManager<Member>,
  sessions: Sessions,
  history: History,
): void {
  app.ws(
    '/rooms/:room',
    {
      maxMessageSize: 16 * 1024,
      verifyClient: (req) =>
        sessions.of(req) !== null || { status: 401, headers: { 'WWW-Authenticate': 'Bearer' } },
      use: [
        (socket, req, next) => {
          const session = sessions.of(req);
          // It may have ended since.
          if (session === null) return socket.close(SESSION_OVER, 'the session is over');
          socket.data = { session };
          next();
        },
      ],
    },
    (socket) => {
      const { room } = socket.params;
      const { user, expires } = socket.data.session;
      const since = Number(new URL(socket.url, 'http://localhost').searchParams.get('since'));

      // A session ends on connections that are open as well.
      const expiry = setTimeout(
        () => socket.close(SESSION_OVER, 'the session is over'),
        Math.min(expires - Date.now(), LONGEST_TIMER_MS),
      );
      socket.onClose(() => {
        clearTimeout(expiry);
        tell(`room ${room}`, { type: 'here', people: people(room) });
      });
      socket.onMessage((data) => answer(socket, room, user, parse(data)));

      socket.join(`room ${room}`);
      socket.join(roomOf(user));
      const said = history.since(room, since);
      socket.json({ type: 'welcome', you: user, people: people(room), said });
      tell(`room ${room}`, { type: 'here', people: people(room) }, socket);
    },
  );

  const tell = (room: string, message: object, except?: WSSocket) =>
    rooms.broadcast(room, JSON.stringify(message), { except });

  /** Who is in a room, each once: the same user may have several pages open. */
  function people(room: string): User[] {
    const users = rooms.members(`room ${room}`).map(({ data }) => data.session.user);
    return [...new Map(users.map((user) => [user.id, user])).values()];
  }

  function answer(socket: WSSocket, room: string, user: User, message: Message): void {
    const { type, to } = message;
    const text = String(message.text ?? '').slice(0, LONGEST_TEXT);
    if (type === 'typing') {
      tell(`room ${room}`, { type, user: user.id }, socket);
    } else if (type === 'say' && text !== '') {
      tell(`room ${room}`, history.add(room, user.name, text));
    } else if (type === 'whisper' && text !== '') {
      if (rooms.has(roomOf({ id: to }))) tell(roomOf({ id: to }), { type, from: user, text });
      else socket.json({ type: 'gone', user: to });
    } else {
      socket.json({ type: 'error', text: 'this is no message of the chat' });
    }
  }
}

/** What a client says; an empty object for what is no JSON. */
function parse(data: string | Buffer): Message {
  try {
    return Object(JSON.parse(data.toString()));
  } catch {
    return {};
  }
}
