/** The chat: what happens on a connection. Knows neither HTTP nor where it is served. */

import type { WebSocketMethods, WebSocketPlugin, WSSocket } from 'nextrush-websocket';
import type { History } from './history.js';
import type { Session } from './sessions.js';

/** Close codes of this application. */
export const EXPIRED = 4001;
export const KICKED = 4003;

/** What is known of a connection. */
export interface Member {
  session: Session;
}

type Socket = WSSocket<{ room: string }, Member>;

const LONGEST_TEXT = 2000;

export function addChat(
  { ws }: WebSocketMethods,
  { rooms }: WebSocketPlugin,
  history: History,
  sessionOf: (socket: WSSocket) => Session,
): void {
  const tell = (room: string, message: object, except?: WSSocket) =>
    rooms.broadcast(room, JSON.stringify(message), { except });

  const people = (room: string) =>
    [...new Set(rooms.members(room).map(({ data }) => (data as Member).session.user.name))].sort();

  ws<Member, '/rooms/:room'>(
    '/rooms/:room',
    {
      maxMessageSize: 16 * 1024,
      use: [
        (socket, _req, next) => {
          socket.data = { session: sessionOf(socket) };
          next();
        },
      ],
    },
    (socket) => {
      const { room } = socket.params;
      const { session } = socket.data;
      const { user } = session;
      const since = Number(new URL(socket.url, 'http://localhost').searchParams.get('since'));

      // A session ends on connections that are open as well.
      const expiry = setTimeout(
        () => socket.close(EXPIRED, 'the session is over'),
        session.expires - Date.now(),
      );
      socket.onClose(() => {
        clearTimeout(expiry);
        tell(room, { type: 'here', people: people(room) });
      });

      socket.join(room);
      socket.join(`user ${user.id}`);
      socket.json({
        type: 'welcome',
        you: user,
        people: people(room),
        said: history.since(room, since),
      });
      tell(room, { type: 'here', people: people(room) }, socket);
      socket.onMessage((data) => answer(socket, parse(data)));
    },
  );

  function answer(socket: Socket, message: Record<string, unknown>): void {
    const { room } = socket.params;
    const { user } = socket.data.session;
    const text = String(message.text ?? '').slice(0, LONGEST_TEXT);
    if (message.type === 'say' && text !== '') tell(room, history.add(room, user.name, text));
    else if (message.type === 'typing') tell(room, { type: 'typing', name: user.name }, socket);
    else if (message.type === 'whisper') {
      const whispered = { type: 'whispered', from: user.name, text, at: Date.now() };
      const isThere = rooms.count(`user ${message.to}`) > 0;
      if (isThere) tell(`user ${message.to}`, whispered);
      else socket.json({ type: 'gone', to: message.to });
    } else socket.json({ type: 'error', text: 'this is no message of the chat' });
  }
}

/** What a client says; an empty object for what is no JSON object. */
function parse(data: string | Buffer): Record<string, unknown> {
  try {
    return Object(JSON.parse(data.toString()));
  } catch {
    return {};
  }
}
