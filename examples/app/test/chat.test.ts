/** The chat without a network: who is told what, and what time does to a session. */

import { type TestClient, TestWebSocketPlugin } from 'nextrush-websocket/testing';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { addChat, type Member, roomOf, SESSION_OVER } from '../src/chat.js';
import { History } from '../src/history.js';
import { Sessions } from '../src/sessions.js';

const HOUR = 3_600_000;

let plugin: TestWebSocketPlugin<Member>;
let sessions: Sessions;

beforeEach(() => {
  vi.useFakeTimers({ now: new Date('2030-01-01T12:00:00Z') });
  plugin = new TestWebSocketPlugin<Member>({ path: '/rooms/:room' });
  sessions = new Sessions('a secret', HOUR);
  addChat(plugin.app, plugin.rooms, sessions, new History());
});

afterEach(async () => {
  await plugin.cleanup();
  vi.useRealTimers();
});

const connect = (path: string, token: string) =>
  plugin.connect(path, { headers: { Authorization: `Bearer ${token}` } });

/** Logs somebody in, and connects. What the room says of that is read. */
async function enter(name: string, path = '/rooms/tea'): Promise<TestClient> {
  const client = await connect(path, sessions.begin(name).token);
  await client.nextJson();
  return client;
}

const userOf = (client: TestClient) => client.socket.data.session.user;

const last = (client: TestClient) => JSON.parse(String(client.received.at(-1)));

test('whoever has no session is challenged', async () => {
  const refusal = { status: 401, headers: { 'www-authenticate': 'Bearer' } };
  await expect(plugin.connect('/rooms/tea')).rejects.toMatchObject(refusal);
  const { token } = new Sessions('another secret').begin('Eve');
  await expect(connect('/rooms/tea', token)).rejects.toMatchObject(refusal);
});

test('a token that was tampered with is none', async () => {
  const { token } = sessions.begin('Eve');
  const [header, payload = '', signature] = token.split('.');
  const claims = JSON.parse(Buffer.from(payload, 'base64url').toString());
  const forged = Buffer.from(JSON.stringify({ ...claims, isAdmin: true })).toString('base64url');
  for (const bad of [`${header}.${forged}.${signature}`, `${header}.${payload}.`, `${token}.x`]) {
    await expect(connect('/rooms/tea', bad)).rejects.toMatchObject({ status: 401 });
  }
});

test('everyone in a room learns who is there, each once', async () => {
  const ada = await enter('Ada');
  const { token } = sessions.begin('Bob');
  const bob = await connect('/rooms/tea', token);
  const again = await connect('/rooms/tea', token);
  const elsewhere = await enter('Eve', '/rooms/cake');
  const people = [userOf(ada), userOf(bob)];
  expect(last(again)).toEqual({ type: 'welcome', you: userOf(bob), people, said: [] });
  expect(last(ada)).toEqual({ type: 'here', people });
  bob.close();
  expect(last(ada)).toEqual({ type: 'here', people });
  again.drop();
  expect(last(ada)).toEqual({ type: 'here', people: [userOf(ada)] });
  expect(elsewhere.received).toHaveLength(1);
});

test('what one says, all in the room hear; that one types, all others', async () => {
  const [ada, bob] = [await enter('Ada'), await enter('Bob')];
  ada.json({ type: 'typing' });
  expect(last(bob)).toEqual({ type: 'typing', user: userOf(ada).id });
  ada.json({ type: 'say', text: 'Tea?' });
  const said = { type: 'said', id: 1, from: 'Ada', text: 'Tea?', at: Date.now() };
  expect([last(ada), last(bob)]).toEqual([said, said]);
  expect(ada.received.some((message) => String(message).includes('typing'))).toBe(false);
});

test('what was said before is told, as far as it is new', async () => {
  const ada = await enter('Ada');
  for (const text of ['one', 'two', 'three']) ada.json({ type: 'say', text });
  const all = last(await enter('Bob', '/rooms/tea'));
  const { token } = sessions.begin('Eve');
  const textsOf = async (path: string) => {
    const { said } = await (await connect(path, token)).nextJson<{ said: { text: string }[] }>();
    return said.map(({ text }) => text);
  };
  expect(all.said).toHaveLength(3);
  expect(await textsOf('/rooms/tea?since=2')).toEqual(['three']);
  expect(await textsOf('/rooms/tea?since=nonsense')).toEqual([]);
  expect(await textsOf('/rooms/cake')).toEqual([]);
});

test('a whisper is for one, in whatever room', async () => {
  const [ada, bob] = [await enter('Ada'), await enter('Bob', '/rooms/cake')];
  const eve = await enter('Eve');
  ada.json({ type: 'whisper', to: userOf(bob).id, text: 'psst' });
  expect(last(bob)).toEqual({ type: 'whisper', from: userOf(ada), text: 'psst' });
  expect(eve.received.join()).not.toContain('psst');
  bob.close();
  ada.json({ type: 'whisper', to: userOf(bob).id, text: 'psst' });
  expect(last(ada)).toEqual({ type: 'gone', user: userOf(bob).id });
});

test('nonsense is answered, and harms nobody', async () => {
  const ada = await enter('Ada');
  for (const nonsense of ['{', 'null', '{"type":"say"}', '{"type":"dance"}', Buffer.of(255)]) {
    ada.send(nonsense);
    expect(last(ada)).toMatchObject({ type: 'error' });
  }
  expect(ada.closed).toBe(null);
});

test('a session ends on its connections, too', async () => {
  const early = await enter('Ada');
  await vi.advanceTimersByTimeAsync(HOUR / 2);
  const late = await enter('Bob');
  const { token } = sessions.begin('Eve');
  const timers = vi.getTimerCount();
  (await enter('Dan')).drop();
  expect(vi.getTimerCount()).toBe(timers);
  await vi.advanceTimersByTimeAsync(HOUR / 2);
  expect(early.closed).toEqual({ code: SESSION_OVER, reason: 'the session is over' });
  expect(late.closed).toBe(null);
  await vi.advanceTimersByTimeAsync(HOUR / 2);
  expect(late.closed?.code).toBe(SESSION_OVER);
  expect(vi.getTimerCount()).toBe(0);
  await expect(connect('/rooms/tea', token)).rejects.toMatchObject({ status: 401 });
});

test('a session that was ended is none any more', async () => {
  const { session, token } = sessions.begin('Ada');
  const ada = await connect('/rooms/tea', token);
  sessions.end(session);
  expect(plugin.rooms.close(roomOf(session.user), SESSION_OVER)).toBe(1);
  await vi.advanceTimersByTimeAsync(0);
  expect(ada.closed?.code).toBe(SESSION_OVER);
  await expect(connect('/rooms/tea', token)).rejects.toMatchObject({ status: 401 });
});
