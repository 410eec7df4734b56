/** Option `logger`: where lines go, and that no logger harms anybody. */

import fastify from 'fastify';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { WebSocketPlugin, type WSLogFields, type WSLogger, type WSLogLevel } from '../index.js';
import { connect, expectEcho, refused } from './support/client.js';
import { stderr } from './support/console.js';
import { type Queue, queue } from './support/events.js';
import { echo, serveRecorded } from './support/pair.js';
import { isBun } from './support/transport.js';

interface Line {
  level: WSLogLevel;
  message: string;
  fields: WSLogFields;
}

/** A logger that keeps what it is told. */
function keeping(lines: Queue<Line>): WSLogger {
  return (level, message, fields) => lines.push({ level, message, fields });
}

/** Nothing of what follows is printed. */
function silent(): void {
  for (const method of ['log', 'debug', 'info', 'warn', 'error'] as const) {
    const spy = vi.spyOn(console, method).mockImplementation(() => {});
    onTestFinished(() => {
      expect(spy).not.toHaveBeenCalled();
      spy.mockRestore();
    });
  }
}

const boom = () => {
  throw new Error('boom');
};

test('a function gets decisions as level, message and fields, and nothing is printed', async () => {
  silent();
  const lines = queue<Line>();
  const { url } = await serveRecorded({ debug: true, logger: keeping(lines) });
  const client = await connect(url('/ws?room=1'));
  const accepted = await lines.next();
  expect(accepted).toEqual({
    level: 'debug',
    message: expect.stringMatching(/^\/ws\?room=1 accepted as [0-9a-f-]{36}/),
    fields: {
      plugin: 'WebSocketPlugin',
      connection: expect.stringMatching(/^[0-9a-f-]{36}$/),
      bridged: expect.any(Boolean),
    },
  });
  client.close(4000, 'bye');
  expect(await lines.next()).toEqual({
    level: 'debug',
    message: '/ws?room=1 closed with 4000: bye',
    fields: {
      plugin: 'WebSocketPlugin',
      connection: accepted.fields.connection,
      code: 4000,
      reason: 'bye',
    },
  });
  await refused(url('/elsewhere'));
  expect(await lines.next()).toMatchObject({
    level: 'info',
    message: expect.stringContaining('rejected (path)'),
    fields: { reason: 'path', status: 404 },
  });
});

test('without debug it gets errors alone, which nobody listens to', async () => {
  silent();
  const lines = queue<Line>();
  const { url, plugin } = await serveRecorded({ logger: keeping(lines) }, (socket) =>
    socket.onMessage(boom),
  );
  const client = await connect(url());
  client.send('x');
  expect(await client.closed).toMatchObject({ code: 1011 });
  const { level, message, fields } = await lines.next();
  expect(level).toBe('error');
  expect(message).toMatch(/^error \(connection [0-9a-f-]{36}\): boom$/);
  expect(fields).toMatchObject({ plugin: 'WebSocketPlugin', err: { message: 'boom' } });

  const heard = queue<Error>();
  plugin.on('error', (error) => heard.push(error));
  (await connect(url())).send('x');
  expect((await heard.next()).message).toBe('boom');
  expect(lines.waiting).toEqual([]);
});

test.skipIf(isBun)('pino gets fields first', async () => {
  silent();
  const written = queue<string>();
  const stream = { write: (line: string) => written.push(line) };
  const { log } = fastify({ logger: { level: 'debug', stream } });
  const { url } = await serveRecorded({ debug: true, logger: log }, (socket) =>
    socket.onMessage(boom),
  );
  const client = await connect(url());
  client.send('x');
  const accepted = JSON.parse(await written.next());
  expect(accepted).toMatchObject({ level: 20, plugin: 'WebSocketPlugin' });
  expect(accepted.msg).toBe(
    `/ws accepted as ${accepted.connection}${accepted.bridged ? ' over a bridge' : ''}`,
  );
  const error = JSON.parse(await written.next());
  expect(error).toMatchObject({ level: 50, connection: accepted.connection });
  expect(error.err).toMatchObject({ type: 'Error', message: 'boom' });
  expect(error.err.stack).toContain('boom');
});

test('a console gets one text, and errors behind it', async () => {
  const calls = queue<unknown[]>();
  const method =
    (name: string) =>
    (...args: unknown[]) =>
      calls.push([name, ...args]);
  const logger = {
    log: method('log'),
    debug: method('debug'),
    info: method('info'),
    warn: method('warn'),
    error: method('error'),
  };
  const { url } = await serveRecorded({ debug: true, logger }, (socket) => socket.onMessage(boom));
  const client = await connect(url());
  client.send('x');
  expect(await calls.next()).toEqual([
    'debug',
    expect.stringMatching(/^\[WebSocketPlugin\] \/ws accepted as /),
  ]);
  expect(await calls.next()).toEqual([
    'error',
    expect.stringMatching(/^\[WebSocketPlugin\] error \(connection .*\): boom$/),
    expect.objectContaining({ message: 'boom' }),
  ]);
});

test('what a client has sent is one printable, short line', async () => {
  const lines = queue<Line>();
  const { url } = await serveRecorded({ debug: true, logger: keeping(lines) });
  const client = await connect(url());
  await lines.next();
  client.close(4000, '\u001b[2K\u2028bye');
  const { message, fields } = await lines.next();
  for (const text of [message, fields.reason]) expect(text).toMatch(/^[!-~ ]+$/);
  await refused(url(`/${'x'.repeat(5000)}`));
  expect((await lines.next()).message.length).toBeLessThan(500);
});

describe('a logger that fails', () => {
  const failing: [string, () => unknown][] = [
    ['throws', boom],
    ['rejects', async () => boom()],
    ['returns a thenable that throws', () => Object.defineProperty({}, 'then', { get: boom })],
  ];

  test.each(failing)('as it %s, loses lines and nothing else', async (_name, logger) => {
    const { url, plugin } = await serveRecorded({ debug: true, logger }, echo);
    await expectEcho(url());
    await refused(url('/elsewhere'));
    await plugin.cleanup();
  });

  test.each(failing)('as it %s, has errors printed on stderr', async (_name, logger) => {
    const printed = stderr();
    const { url } = await serveRecorded({ logger }, (socket) => {
      if (socket.url === '/ws?bad') socket.onMessage(boom);
      else echo(socket);
    });
    (await connect(url('/ws?bad'))).send('x');
    const [line, error] = await printed.next();
    expect(line).toMatch(/^\[WebSocketPlugin\] error \(connection [0-9a-f-]{36}\):$/);
    expect(error).toMatchObject({ message: 'boom' });
    await expectEcho(url());
  });

  test('never, as it never settles, holds nothing up', async () => {
    const { url } = await serveRecorded({ debug: true, logger: () => new Promise(() => {}) }, echo);
    await expectEcho(url());
  });

  test('as it closes all that it hears of, is obeyed', async () => {
    const { url, plugin } = await serveRecorded({
      debug: true,
      logger: () => {
        plugin.cleanup();
      },
    });
    const client = await connect(url());
    expect(await client.closed).toMatchObject({ code: 1001 });
  });
});

test.each([
  ['null', null],
  ['"console"', 'console'],
  ['1', 1],
  ['an object', { debug() {}, info() {}, warn() {} }],
])('%s is none', (got, logger) => {
  expect(() => new WebSocketPlugin({ logger: logger as never })).toThrow(
    new TypeError(
      `WebSocketPlugin: option "logger" must be a function, or an object with debug, info, warn and error, such as console or pino, got ${got}`,
    ),
  );
});
