/**
 * A game for several browsers: everyone is an orb, eats what is smaller, and is told by the server alone
 * what has happened.
 *
 *   npm run demo:game, then http://localhost:3000 in two windows
 */

import { launch, startIfMain } from '../../examples/launch.js';
import { WebSocketPlugin, withWebSocket } from '../../index.mjs';
import { appWithPages } from '../serve.js';
import { World } from './world.js';

/** Steps of the world per second. */
const STEPS = 30;
const LONGEST_NAME = 16;

/** @param {import('../../examples/launch.js').StartOptions} [options] */
export async function start(options) {
  const app = await appWithPages(new URL('./page/', import.meta.url));
  const wsPlugin = new WebSocketPlugin({
    path: '/arena',
    maxConnections: 500,
    maxMessageSize: 256,
    messageRate: { perSecond: 120, burst: 120, policy: 'drop' },
  });
  wsPlugin.install(app);
  const { rooms } = wsPlugin;
  const world = new World();

  withWebSocket(app).ws('/arena', (socket) => {
    const query = new URL(socket.url, 'http://localhost').searchParams;
    const name = (query.get('name') ?? '').trim().slice(0, LONGEST_NAME) || 'Somebody';
    const orb = world.enter(name);
    socket.json({
      type: 'welcome',
      you: orb.id,
      size: world.size,
      steps: STEPS,
      ...world.describe(),
    });
    tellWhoPlays();
    socket.join('arena');

    // Where a player wants to go; what becomes of it is decided here.
    socket.onMessage((data) => {
      if (typeof data === 'string' || data.length !== 2) return;
      world.steer(orb, data.readInt8(0) / 127, data.readInt8(1) / 127);
    });
    socket.onClose(() => {
      world.leave(orb);
      tellWhoPlays();
    });
  });

  function tellWhoPlays() {
    rooms.broadcast('arena', JSON.stringify({ type: 'players', players: world.players() }));
  }

  const timer = setInterval(() => {
    if (rooms.count('arena') === 0) return;
    const news = world.step(1 / STEPS);
    if (news !== null) rooms.broadcast('arena', JSON.stringify({ type: 'news', ...news }));
    rooms.broadcast('arena', world.snapshot());
  }, 1000 / STEPS);
  app.once('shutdown', () => clearInterval(timer));

  return launch(app, wsPlugin, options);
}

await startIfMain(import.meta, start);
