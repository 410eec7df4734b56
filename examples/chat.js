/**
 * The reference's chat: clients authenticate by a token in the query string, talk in one room or
 * to each other, and see who comes and goes.
 *
 *   node examples/chat.js
 *   curl 'http://localhost:3000/api/token?name=Ada'
 *   npx wscat -c 'ws://localhost:3000/chat?token=…'
 *   > {"type":"chat_message","text":"hello"}
 */

import { createHmac, randomBytes, randomUUID, timingSafeEqual } from 'node:crypto';
import { WebSocketPlugin, withWebSocket } from '../index.mjs';
import { createApp } from './host/index.js';
import { launch, startIfMain } from './launch.js';

/** Signs the tokens. Without one of your own, those of an earlier run are worthless. */
const secret = process.env.JWT_SECRET ?? randomBytes(32);

/** How long a token is good for, in milliseconds. */
const TOKEN_LIFETIME = 60 * 60 * 1000;

/** @param {import('./launch.js').StartOptions} [options] */
export async function start(options) {
  const app = createApp();
  app.use(app.json()); // Without it ctx.body is undefined

  // Configure WebSocket plugin
  const wsPlugin = new WebSocketPlugin({
    path: '/chat',
    maxConnections: 1000,
    verifyClient: async (req) => {
      // Verify JWT token from query string
      const url = new URL(req.url || '', 'http://localhost');
      const token = url.searchParams.get('token');
      return Boolean(token && (await verifyJWT(token)));
    },
  });

  wsPlugin.install(app);

  // Get typed WebSocket app
  const wsApp = withWebSocket(app);

  // Store active users
  const activeUsers = new Map();

  // Everyone who is connected, for private messages
  const sockets = new Set();
  wsPlugin.on('connection', (socket) => sockets.add(socket));
  wsPlugin.on('close', (socket) => sockets.delete(socket));

  function findSocketByUserId(userId) {
    for (const socket of sockets) {
      if (socket.user?.id === userId) return socket;
    }
    return undefined;
  }

  // Authentication middleware
  wsApp.wsUse(async (socket, req, next) => {
    const url = new URL(req.url || '', 'http://localhost');
    const token = url.searchParams.get('token');

    try {
      const user = await verifyJWT(token);
      /** @type {any} */ (socket).user = user; // Attach user to socket
      activeUsers.set(socket.id, user);
      next();
    } catch {
      socket.close(1008, 'Invalid authentication');
    }
  });

  // Chat handler
  wsApp.ws('/chat', (socket) => {
    const { user } = /** @type {any} */ (socket);

    // Join general room
    socket.join('general');

    // Announce user joined
    wsApp.wsBroadcast(
      JSON.stringify({
        type: 'user_joined',
        user: { id: user.id, name: user.name },
        timestamp: Date.now(),
      }),
      'general',
    );

    // Send user list
    socket.send(
      JSON.stringify({
        type: 'user_list',
        users: Array.from(activeUsers.values()),
      }),
    );

    // Handle messages
    socket.onMessage((data) => {
      try {
        const message = JSON.parse(data.toString());

        switch (message.type) {
          case 'chat_message':
            // Broadcast to all users in general room
            wsApp.wsBroadcast(
              JSON.stringify({
                type: 'message',
                id: generateMessageId(),
                user: { id: user.id, name: user.name },
                text: message.text,
                timestamp: Date.now(),
              }),
              'general',
            );
            break;

          case 'private_message': {
            // Send to specific user
            const targetSocket = findSocketByUserId(message.targetUserId);
            if (targetSocket) {
              targetSocket.send(
                JSON.stringify({
                  type: 'private_message',
                  from: { id: user.id, name: user.name },
                  text: message.text,
                  timestamp: Date.now(),
                }),
              );
            }
            break;
          }

          case 'typing':
            // Broadcast typing indicator
            wsApp.wsBroadcast(
              JSON.stringify({
                type: 'typing',
                user: { id: user.id, name: user.name },
                isTyping: message.isTyping,
              }),
              'general',
            );
            break;
        }
      } catch {
        socket.send(
          JSON.stringify({
            type: 'error',
            message: 'Invalid message format',
          }),
        );
      }
    });

    // Handle disconnection
    socket.onClose(() => {
      activeUsers.delete(socket.id);

      // Announce user left
      wsApp.wsBroadcast(
        JSON.stringify({
          type: 'user_left',
          user: { id: user.id, name: user.name },
          timestamp: Date.now(),
        }),
        'general',
      );
    });
  });

  // HTTP API for sending system messages
  app.post('/api/admin/broadcast', async (ctx) => {
    const { message, room = 'general' } = /** @type {any} */ (ctx.body);

    wsApp.wsBroadcast(
      JSON.stringify({
        type: 'system_message',
        message,
        timestamp: Date.now(),
      }),
      room,
    );

    ctx.res.json({ success: true });
  });

  // A token for whoever asks: in place of the login that an application of yours has
  app.get('/api/token', (ctx) => {
    const user = { id: randomUUID(), name: String(ctx.query.name ?? 'Anonymous') };
    ctx.res.json({ token: signJWT(user), user });
  });

  return launch(app, wsPlugin, options);
}

function generateMessageId() {
  return randomUUID();
}

/** A JSON web token (RFC 7519) of a user, signed with HMAC-SHA-256. */
export function signJWT(user) {
  const header = encode({ alg: 'HS256', typ: 'JWT' });
  const payload = encode({ ...user, exp: Math.floor((Date.now() + TOKEN_LIFETIME) / 1000) });
  return `${header}.${payload}.${signature(`${header}.${payload}`).toString('base64url')}`;
}

/** The user of a token, or `null` where it is not one of ours or has expired. */
async function verifyJWT(token) {
  const [header, payload, given, ...rest] = String(token).split('.');
  if (rest.length > 0 || !given) return null;

  const expected = signature(`${header}.${payload}`);
  const actual = Buffer.from(given, 'base64url');
  if (actual.length !== expected.length || !timingSafeEqual(actual, expected)) return null;

  const { id, name, exp } = JSON.parse(Buffer.from(payload, 'base64url').toString('utf8'));
  return exp * 1000 > Date.now() ? { id, name } : null;
}

function encode(value) {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}

function signature(text) {
  return createHmac('sha256', secret).update(text).digest();
}

await startIfMain(import.meta, start);
