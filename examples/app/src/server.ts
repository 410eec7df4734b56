/** The application: HTTP routes, and the chat beside them. */

import { createHash, timingSafeEqual } from 'node:crypto';
import { createApp } from 'nextrush';
import { WebSocketPlugin, type WebSocketPluginOptions, withWebSocket } from 'nextrush-websocket';
import { addChat, KICKED, type Member, roomOf, SESSION_OVER } from './chat.js';
import { History } from './history.js';
import { Sessions } from './sessions.js';

export interface Settings extends WebSocketPluginOptions {
  /** Signs the tokens of sessions. */
  secret: string | Buffer;
  /** Whoever logs in with it may kick others. */
  adminPassword?: string | undefined;
  sessionMs?: number | undefined;
}

export function createServer({ secret, adminPassword, sessionMs, ...options }: Settings) {
  const app = createApp();
  const wsPlugin = new WebSocketPlugin<Member>({ path: '/rooms/:room', ...options });
  const sessions = new Sessions(secret, sessionMs);
  app.use(app.json());
  wsPlugin.install(app);
  addChat(withWebSocket(app), wsPlugin.rooms, sessions, new History());

  app.post('/login', ({ body, res, secure }) => {
    const { name, password } = Object(body);
    const isAdmin = adminPassword !== undefined && isSame(String(password), adminPassword);
    if (typeof name !== 'string' || name.trim() === '') {
      res.status(400).json({ error: 'a name is needed' });
    } else if (password !== undefined && !isAdmin) {
      res.status(401).json({ error: 'the password is wrong' });
    } else {
      const { session, token } = sessions.begin(name.trim(), isAdmin);
      const attributes = `Path=/; HttpOnly; SameSite=Lax${secure ? '; Secure' : ''}`;
      res.set('Set-Cookie', `session=${token}; ${attributes}`).json({ user: session.user, token });
    }
  });

  app.post('/logout', ({ req, res }) => {
    const session = sessions.of(req);
    if (session !== null) {
      sessions.end(session);
      wsPlugin.rooms.close(roomOf(session.user), SESSION_OVER, 'logged out');
    }
    res.json({ ok: true });
  });

  app.post('/kick', ({ req, body, res }) => {
    if (sessions.of(req)?.user.isAdmin) {
      res.json({ closed: wsPlugin.rooms.close(roomOf(Object(body)), KICKED, 'kicked') });
    } else {
      res.status(403).json({ error: 'only admins kick' });
    }
  });

  app.get('/health', async ({ res }) => {
    const isReady = await wsPlugin.healthCheck();
    res.status(isReady ? 200 : 503).json({ isReady });
  });

  app.get('/metrics', ({ res }) => {
    res.set('Content-Type', 'application/openmetrics-text; version=1.0.0; charset=utf-8');
    res.send(wsPlugin.metrics());
  });

  return { app, wsPlugin };
}

/** Compares in a time that tells nothing. */
function isSame(given: string, wanted: string): boolean {
  const [one, other] = [given, wanted].map((text) => createHash('sha256').update(text).digest());
  return timingSafeEqual(one as Buffer, other as Buffer);
}
