/**
 * A chat: rooms, who is here, who is typing, what was said before, and a page that misses nothing when
 * its connection is lost.
 *
 *   npm run demo:chat, then http://localhost:3000 in two windows
 */

import { launch, startIfMain } from '../../examples/launch.js';
import { WebSocketPlugin, withWebSocket } from '../../index.mjs';
import { appWithPages } from '../serve.js';

const ROOMS = ['lobby', 'music', 'films', 'cooking'];
/** Messages that each room keeps. */
const KEPT = 100;
const LONGEST_TEXT = 2000;
const LONGEST_NAME = 24;

/** @param {import('../../examples/launch.js').StartOptions} [options] */
export async function start(options) {
  const app = await appWithPages(new URL('./page/', import.meta.url));
  const wsPlugin = new WebSocketPlugin({
    path: '/chat/:room',
    maxMessageSize: 16 * 1024,
    messageRate: { perSecond: 20, burst: 40, policy: 'pause' },
  });
  wsPlugin.install(app);
  const { rooms } = wsPlugin;

  /** What was said, by room. */
  const history = new Map(ROOMS.map((room) => [room, []]));
  let lastId = 0;

  const tell = (room, message, except) =>
    rooms.broadcast(room, JSON.stringify(message), { except });

  /** Who is here, each name once: the same person may have the page open twice. */
  const people = (room) =>
    [...new Set(rooms.members(room).map((member) => member.data.name))].sort();

  function say(room, from, text) {
    lastId += 1;
    const message = { type: 'said', id: lastId, from, text, at: Date.now() };
    const said = history.get(room);
    said.push(message);
    if (said.length > KEPT) said.shift();
    tell(room, message);
  }

  const counts = () => ROOMS.map((name) => ({ name, people: people(name).length }));

  withWebSocket(app).ws('/chat/:room', (socket) => {
    const { room } = socket.params;
    const said = history.get(room);
    if (said === undefined) return socket.close(4004, 'there is no such room');
    const query = new URL(socket.url, 'http://localhost').searchParams;
    const name = (query.get('name') ?? '').trim().slice(0, LONGEST_NAME);
    if (name === '') return socket.close(4000, 'who are you?');
    // The last message that this page has got, where it comes back.
    const since = Number(query.get('since') ?? 0);

    socket.data.name = name;
    const isNew = !people(room).includes(name);
    socket.join(room);
    socket.json({
      type: 'welcome',
      room,
      people: people(room),
      rooms: counts(),
      said: said.filter(({ id }) => id > since),
    });
    if (isNew) tellWhoIsHere(room);

    socket.onMessage((data) => {
      const message = parse(data);
      if (message.type === 'say' && typeof message.text === 'string') {
        const text = message.text.trim().slice(0, LONGEST_TEXT);
        if (text !== '') say(room, name, text);
      } else if (message.type === 'typing') {
        tell(room, { type: 'typing', name }, socket);
      }
    });
    socket.onClose(() => {
      if (!people(room).includes(name)) tellWhoIsHere(room);
    });
  });

  function tellWhoIsHere(room) {
    tell(room, { type: 'here', people: people(room) });
    tell(ROOMS, { type: 'rooms', rooms: counts() });
  }

  return launch(app, wsPlugin, options);
}

/** What a page says; an empty object for what is no message of ours. */
function parse(data) {
  try {
    return Object(JSON.parse(String(data)));
  } catch {
    return {};
  }
}

await startIfMain(import.meta, start);
