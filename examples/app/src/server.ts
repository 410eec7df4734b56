/** The application: HTTP routes, and the chat beside them. */

import type { IncomingMessage } from 'node:http';
import { createApp } from 'nextrush';
import { WebSocketPlugin, type WebSocketPluginOptions, withWebSocket } from 'nextrush-websocket';
import { addChat, EXPIRED, KICKED } from './chat.js';
import { History } from './history.js';
import { type Session, Sessions } from './sessions.js';

export interface Settings extends WebSocketPluginOptions {
  /** Signs the tokens of sessions. */
  secret: string | Buffer;
  /** Who may kick others. */
  admins?: string[];
  sessionMs?: number;
}

export function createServer({ secret, admins = [], sessionMs, ...options }: Settings) {
  const app = createApp();
  app.use(app.json());
  const sessions = new Sessions(secret, sessionMs);

  /** Who is behind an upgrade request that was let in: it is the `request` of its connection. */
  const admitted = new WeakMap<IncomingMessage, Session>();
  const wsPlugin = new WebSocketPlugin({
    path: '/rooms/:room',
    verifyClient(req) {
      const session = sessions.of(req);
      if (session === null) return { status: 401, headers: { 'WWW-Authenticate': 'Bearer' } };
      admitted.set(req, session);
      return true;
    },
    ...options,
  });
  wsPlugin.install(app);
  addChat(withWebSocket(app), wsPlugin, new History(), ({ request }) => {
    const session = request && admitted.get(request);
    if (session === undefined) throw new Error('a connection without a session');
    return session;
  });

  app.post('/login', ({ body, res, secure }) => {
    const { name } = Object(body);
    if (typeof name !== 'string' || name.trim() === '') {
      res.status(400).json({ error: 'a name is needed' });
      return;
    }
    const { session, token } = sessions.begin(name.trim(), admins.includes(name.trim()));
    const attributes = `HttpOnly; SameSite=Lax; Path=/${secure ? '; Secure' : ''}`;
    res.set('Set-Cookie', `session=${token}; ${attributes}`).json({ user: session.user, token });
  });

  app.post('/logout', ({ req, res }) => {
    const session = sessions.of(req);
    if (session !== null) {
      sessions.end(session);
      // Its connections, too, whichever page has opened them.
      wsPlugin.rooms.close(`user ${session.user.id}`, EXPIRED, 'logged out');
    }
    res.json({ ok: true });
  });

  app.post('/kick', ({ req, body, res }) => {
    if (!sessions.of(req)?.user.isAdmin) {
      res.status(403).json({ error: 'only admins kick' });
      return;
    }
    const closed = wsPlugin.rooms.close(`user ${Object(body).id}`, KICKED, 'kicked');
    res.json({ closed });
  });

  app.get('/health', async ({ res }) => {
    const isReady = await wsPlugin.healthCheck();
    res.status(isReady ? 200 : 503).json({ ready: isReady });
  });

  app.get('/metrics', ({ res }) => {
    res.set('Content-Type', 'application/openmetrics-text; version=1.0.0; charset=utf-8');
    res.send(wsPlugin.metrics());
  });

  return { app, wsPlugin, sessions };
}
