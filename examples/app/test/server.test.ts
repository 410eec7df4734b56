/** The application over a network, as its clients see it. */

import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import type { Server } from 'node:http';
import { Agent, request } from 'node:https';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { type Client, connect } from 'nextrush-websocket/testing';
import { expect, onTestFinished, test } from 'vitest';
import { KICKED, SESSION_OVER } from '../src/chat.js';
import { createServer, type Settings } from '../src/server.js';
import type { User } from '../src/sessions.js';

interface Login {
  user: User;
  token: string;
  /** As a browser sends it. */
  cookie: string;
}

/** Starts the application on a free port until the test is over. */
async function serve(settings: Partial<Settings> = {}) {
  const { app, wsPlugin } = createServer({ secret: 'a secret', ...settings });
  const server = app.getServer() as Server;
  app.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(async () => {
    await wsPlugin.cleanup();
    server.close();
    await app.eventSystem.shutdown();
  });
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;

  const post = (path: string, body: object, headers: Record<string, string> = {}) =>
    fetch(`http://${host}${path}`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', ...headers },
      body: JSON.stringify(body),
    });

  async function login(name: string, password?: string): Promise<Login> {
    const response = await post('/login', { name, password });
    const [cookie = ''] = (response.headers.get('Set-Cookie') ?? '').split(';');
    const { user, token } = (await response.json()) as Omit<Login, 'cookie'>;
    return { user, token, cookie };
  }

  const enter = ({ cookie }: { cookie: string }, path = '/rooms/tea') =>
    connect(`ws://${host}${path}`, { headers: { Cookie: cookie } });

  return {
    wsPlugin,
    host,
    post,
    login,
    enter,
    get: (path: string) => fetch(`http://${host}${path}`),
  };
}

/** The next message of a type. */
async function next(client: Client, type: string): Promise<Record<string, unknown>> {
  for (;;) {
    const message = await client.nextJson<Record<string, unknown>>();
    if (message.type === type) return message;
  }
}

test('a login gives a cookie and a token, and either lets in', async () => {
  const { host, post, login, enter } = await serve();
  expect((await post('/login', {})).status).toBe(400);
  const { user, token, cookie } = await login(' Ada ');
  expect(user).toEqual({ id: expect.any(String), name: 'Ada', isAdmin: false });
  expect(await next(await enter({ cookie }), 'welcome')).toMatchObject({ you: user });
  const headers = { Authorization: `Bearer ${token}` };
  const other = await connect(`ws://${host}/rooms/cake`, { headers });
  expect(await next(other, 'welcome')).toMatchObject({ you: user });
});

test('without a session there is a challenge', async () => {
  const { host, enter } = await serve();
  const refusal = { status: 401, headers: { 'www-authenticate': 'Bearer' } };
  await expect(connect(`ws://${host}/rooms/tea`)).rejects.toMatchObject(refusal);
  await expect(enter({ cookie: 'session=a.b.c' })).rejects.toMatchObject(refusal);
  await expect(connect(`ws://${host}/elsewhere`)).rejects.toMatchObject({ status: 404 });
});

test('people see each other come, type, talk, whisper and go', async () => {
  const { login, enter } = await serve();
  const [ada, bob] = [await login('Ada'), await login('Bob')];
  const first = await enter(ada);
  expect(await next(first, 'welcome')).toMatchObject({ people: [ada.user] });
  const second = await enter(bob);
  expect(await next(first, 'here')).toMatchObject({ people: [ada.user, bob.user] });
  second.json({ type: 'typing' });
  expect(await next(first, 'typing')).toMatchObject({ user: bob.user.id });
  second.json({ type: 'say', text: 'Hello' });
  expect(await next(first, 'said')).toMatchObject({ from: 'Bob', text: 'Hello' });
  first.json({ type: 'whisper', to: bob.user.id, text: 'psst' });
  expect(await next(second, 'whisper')).toMatchObject({ from: ada.user, text: 'psst' });
  await second.close();
  expect(await next(first, 'here')).toMatchObject({ people: [ada.user] });
});

test('who comes back asks for what was missed', async () => {
  const { login, enter } = await serve();
  const [ada, bob] = [await login('Ada'), await login('Bob')];
  const [first, second] = [await enter(ada), await enter(bob)];
  first.json({ type: 'say', text: 'one' });
  const { id } = await next(second, 'said');
  second.terminate();
  for (const text of ['two', 'three']) first.json({ type: 'say', text });
  for (let heard = 0; heard < 3; heard += 1) await next(first, 'said');
  const { said } = await next(await enter(bob, `/rooms/tea?since=${id}`), 'welcome');
  expect(said).toMatchObject([{ text: 'two' }, { text: 'three' }]);
});

test('a logout closes all connections of the user, and ends the session', async () => {
  const { post, login, enter } = await serve();
  const [ada, bob] = [await login('Ada'), await login('Bob')];
  const [one, two, other] = [await enter(ada), await enter(ada, '/rooms/cake'), await enter(bob)];
  expect((await post('/logout', {}, { Cookie: ada.cookie })).status).toBe(200);
  for (const { closed } of [one, two]) {
    expect(await closed).toEqual({ code: SESSION_OVER, reason: 'logged out' });
  }
  await expect(enter(ada)).rejects.toMatchObject({ status: 401 });
  other.json({ type: 'say', text: 'still here' });
  expect(await next(other, 'said')).toMatchObject({ text: 'still here' });
});

test('admins kick, and nobody else', async () => {
  const { post, login, enter } = await serve({ adminPassword: 'open sesame' });
  const [ada, bob] = [await login('Ada', 'open sesame'), await login('Bob')];
  expect((await post('/login', { name: 'Eve', password: 'abracadabra' })).status).toBe(401);
  const client = await enter(bob);
  const kick = ({ cookie }: Login) => post('/kick', { id: bob.user.id }, { Cookie: cookie });
  expect((await kick(bob)).status).toBe(403);
  expect(await (await kick(ada)).json()).toEqual({ closed: 1 });
  expect(await client.closed).toEqual({ code: KICKED, reason: 'kicked' });
});

test('metrics are there for Prometheus', async () => {
  const { login, enter, get } = await serve();
  await next(await enter(await login('Ada')), 'welcome');
  const response = await get('/metrics');
  expect(response.headers.get('Content-Type')).toMatch(/^application\/openmetrics-text/);
  expect(await response.text()).toMatch(/^nextrush_websocket_connections 1$/m);
});

test('health says no while connections are closed in waves', async () => {
  const { wsPlugin, login, enter, get } = await serve();
  const ada = await login('Ada');
  const clients = [await enter(ada), await enter(ada), await enter(ada)];
  expect((await get('/health')).status).toBe(200);
  const ended = wsPlugin.cleanup({ overMs: 500, code: 1012, reason: 'service restart' });
  expect((await get('/health')).status).toBe(503);
  await expect(enter(ada)).rejects.toMatchObject({ status: 503 });
  for (const { closed } of clients) {
    expect(await closed).toEqual({ code: 1012, reason: 'service restart' });
  }
  await ended;
});

/** A certificate of this machine with its key, in one PEM text. */
function makeCertificate(): string {
  const subject = '-subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1';
  const key = '-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes';
  const options = `req -x509 -days 1 ${subject} ${key} -keyout - -out -`;
  return execFileSync('openssl', options.split(' '), { encoding: 'utf8', stdio: 'pipe' });
}

test('it speaks TLS, and keeps the cookie to it', async () => {
  const pem = makeCertificate();
  const tls = { cert: pem, key: pem };
  const { host } = await serve({ tls });
  const agent = new Agent({ ca: tls.cert });
  onTestFinished(() => agent.destroy());
  const body = JSON.stringify({ name: 'Ada' });
  const headers = { 'Content-Type': 'application/json', 'Content-Length': body.length };
  const sent = request(`https://${host}/login`, { method: 'POST', agent, headers }).end(body);
  const [response] = await once(sent, 'response');
  expect(response.headers['set-cookie']).toEqual([expect.stringMatching(/; Secure$/)]);
  const { user, token } = JSON.parse(await text(response));
  const client = await connect(`wss://${host}/rooms/tea`, {
    ca: tls.cert,
    headers: { Authorization: `Bearer ${token}` },
  });
  expect(await next(client, 'welcome')).toMatchObject({ you: user });
});
