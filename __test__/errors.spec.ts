import { describe, expect, test } from 'vitest';
import type { WSConnection } from '../index.js';
import { connect, expectEcho } from './support/client.js';
import { stderr } from './support/console.js';
import { queue } from './support/events.js';
import { echo, pair, type Recorded, rawPair, serveRecorded } from './support/pair.js';
import { CLOSE, frame, TEXT } from './support/raw.js';
import { serve } from './support/server.js';
import { until } from './support/until.js';

interface Reported {
  error: Error;
  socket: WSConnection | undefined;
}

/** What the plugin's `error` event tells. */
function errorsOf(plugin: Recorded['plugin']) {
  const errors = queue<Reported>();
  plugin.on('error', (error, socket) => errors.push({ error, socket }));
  return errors;
}

/** A listener with a promise as its result, as JavaScript allows. */
function asyncListener(run: () => Promise<unknown>): () => void {
  return run as () => void;
}

/** Echoes, and throws what `fault` makes for the message `boom`. */
function faulty(fault: () => unknown): (socket: WSConnection) => void {
  return (socket) => {
    socket.onMessage((data) => {
      if (data === 'boom') throw fault();
      socket.send(data);
    });
  };
}

describe('a listener for messages that throws', () => {
  test('is reported with its connection, which closes with 1011', async () => {
    const thrown = new Error('boom');
    const { client, socket, plugin, ends } = await pair(
      {},
      faulty(() => thrown),
    );
    const errors = errorsOf(plugin);
    client.send('boom');
    const { error, socket: whose } = await errors.next();
    expect(error).toBe(thrown);
    expect(whose).toBe(socket);
    expect((await client.closed).code).toBe(1011);
    expect((await ends.next()).code).toBe(1011);
    expect(errors.waiting).toEqual([]);
  });

  test('tells the client nothing of what was thrown', async () => {
    const { client, plugin } = await pair(
      {},
      faulty(() => new Error('password is 1234')),
    );
    errorsOf(plugin);
    client.send('boom');
    expect((await client.closed).reason).not.toMatch(/1234/);
  });

  test('costs no other message of the same batch', async () => {
    const served = await serveRecorded(
      {},
      faulty(() => new Error('boom')),
    );
    const errors = errorsOf(served.plugin);
    const clients = await Promise.all(Array.from({ length: 40 }, () => connect(served.url())));
    clients.forEach((client, index) => {
      client.send(index % 2 === 0 ? 'boom' : `${index}`);
    });
    for (const [index, client] of clients.entries()) {
      if (index % 2 === 0) expect((await client.closed).code).toBe(1011);
      else expect(await client.next()).toBe(`${index}`);
    }
    clients.forEach((client, index) => {
      if (index % 2 === 1) client.send('again');
    });
    for (const [index, client] of clients.entries()) {
      if (index % 2 === 1) expect(await client.next()).toBe('again');
    }
    expect(errors.waiting).toHaveLength(20);
  });

  test('ends its own connection there: what came before was answered, what came after is not', async () => {
    const { client, plugin, messages, ends } = await rawPair(
      {},
      faulty(() => new Error('boom')),
    );
    const errors = errorsOf(plugin);
    client.write(Buffer.concat(['a', 'boom', 'c', 'boom'].map((text) => frame(TEXT, text))));
    expect((await client.frame()).payload.toString()).toBe('a');
    const close = await client.frame();
    expect(close.opcode).toBe(CLOSE);
    expect(close.payload.readUInt16BE(0)).toBe(1011);
    client.write(frame(CLOSE, close.payload));
    await ends.next();
    expect([await messages.next(), await messages.next(), ...messages.waiting]).toEqual([
      'a',
      'boom',
    ]);
    expect(errors.waiting).toHaveLength(1);
  });

  test('is the case of JSON.parse without a guard: garbage ends who sent it', async () => {
    const served = await serveRecorded({}, (socket) => {
      socket.onMessage((data) => socket.send(String(JSON.parse(data.toString()).value)));
    });
    const errors = errorsOf(served.plugin);
    const good = await connect(served.url());
    for (const garbage of ['{', '', 'null', '{"value":', '\ufeff{}', Buffer.from([0xff, 0])]) {
      const bad = await connect(served.url());
      bad.send(garbage);
      expect((await bad.closed).code).toBe(1011);
      const { error } = await errors.next();
      expect(['SyntaxError', 'TypeError']).toContain(error.name);
      good.send('{"value":1}');
      expect(await good.next()).toBe('1');
    }
  });

  test('while what came during a slow handler is delivered, is no different', async () => {
    const errors = queue<Reported>();
    const { url } = await serve({}, ({ wsApp, plugin }) => {
      plugin.on('error', (error, socket) => errors.push({ error, socket }));
      wsApp.ws('/ws', async (socket) => {
        await new Promise((resolve) => setTimeout(resolve, 20));
        faulty(() => new Error('late boom'))(socket);
      });
    });
    const client = await connect(url());
    client.send('early');
    client.send('boom');
    client.send('never');
    expect(await client.next()).toBe('early');
    expect((await client.closed).code).toBe(1011);
    expect((await errors.next()).error.message).toBe('late boom');
    expect([...client.waiting, ...errors.waiting]).toEqual([]);
  });
});

describe('a listener for messages that rejects', () => {
  test('is reported with its connection, which closes with 1011', async () => {
    const thrown = new Error('async boom');
    const served = await pair({}, (socket) => {
      socket.onMessage(
        asyncListener(async () => {
          await new Promise((resolve) => setImmediate(resolve));
          throw thrown;
        }),
      );
    });
    const errors = errorsOf(served.plugin);
    served.client.send('x');
    const { error, socket } = await errors.next();
    expect([error, socket]).toEqual([thrown, served.socket]);
    expect((await served.client.closed).code).toBe(1011);
  });

  test('costs no other message', async () => {
    const served = await serveRecorded({}, (socket) => {
      socket.onMessage(((data: string) => {
        if (data === 'boom') return Promise.reject(new Error('boom'));
        return Promise.resolve(socket.send(data));
      }) as (data: string | Buffer) => void);
    });
    errorsOf(served.plugin);
    const [bad, good] = [await connect(served.url()), await connect(served.url())];
    bad.send('boom');
    good.send('fine');
    expect(await good.next()).toBe('fine');
    expect((await bad.closed).code).toBe(1011);
    await expectEcho(served.url());
  });

  test('after the connection has ended is reported all the same', async () => {
    const gates = queue<(error: Error) => void>();
    const served = await pair({}, (socket) => {
      socket.onMessage(asyncListener(() => new Promise((_, reject) => gates.push(reject))));
    });
    const errors = errorsOf(served.plugin);
    served.client.send('x');
    const reject = await gates.next();
    served.client.close(4000);
    expect(await served.ends.next()).toEqual({ code: 4000, reason: '' });
    reject(new Error('too late'));
    expect((await errors.next()).error.message).toBe('too late');
    expect(served.ends.waiting).toEqual([]);
  });
});

describe('where nobody listens for errors', () => {
  test('they go to stderr with the id of the connection, and the process lives', async () => {
    const printed = stderr();
    const thrown = new Error('boom');
    const served = await pair(
      {},
      faulty(() => thrown),
    );
    served.client.send('boom');
    const args = await printed.next();
    expect(args).toContain(thrown);
    expect(args.join(' ')).toContain(served.socket.id);
    expect((await served.client.closed).code).toBe(1011);
    await expectEcho(served.url());
    expect(printed.waiting).toEqual([]);
  });

  test('a rejection goes there too, and is not an unhandled one', async () => {
    const printed = stderr();
    const served = await pair({}, (socket) => {
      socket.onMessage(asyncListener(() => Promise.reject(new Error('async boom'))));
    });
    served.client.send('x');
    expect((await printed.next()).join(' ')).toContain('async boom');
    await served.ends.next();
    // An unhandled rejection would have failed this run by now.
    await new Promise((resolve) => setImmediate(resolve));
  });

  test('a listener of the application for them is enough to keep stderr clean', async () => {
    const printed = stderr();
    const heard = queue<unknown[]>();
    const served = await pair(
      {},
      faulty(() => new Error('boom')),
    );
    served.app.on('plugin:WebSocketPlugin:error', (...args) => heard.push(args));
    served.client.send('boom');
    await heard.next();
    await served.ends.next();
    expect(printed.waiting).toEqual([]);
  });

  test('so is one of the plugin', async () => {
    const printed = stderr();
    const served = await pair(
      {},
      faulty(() => new Error('boom')),
    );
    const errors = errorsOf(served.plugin);
    served.client.send('boom');
    await errors.next();
    await served.ends.next();
    expect(printed.waiting).toEqual([]);
  });
});

test('the application hears of errors as plugin:WebSocketPlugin:error, with the connection', async () => {
  const heard = queue<unknown[]>();
  const thrown = new Error('boom');
  const served = await pair(
    {},
    faulty(() => thrown),
  );
  const errors = errorsOf(served.plugin);
  served.app.on('plugin:WebSocketPlugin:error', (...args) => heard.push(args));
  served.client.send('boom');
  const [error, socket] = await heard.next();
  expect(error).toBe(thrown);
  expect(socket).toBe(served.socket);
  expect((await errors.next()).error).toBe(thrown);
});

describe('a listener for the end that throws', () => {
  test('is reported, and the other listeners are called all the same', async () => {
    const thrown = new Error('in onClose');
    const calls: string[] = [];
    const served = await pair({}, (socket) => {
      socket.onClose(() => {
        throw thrown;
      });
      socket.onClose(() => calls.push('second'));
      socket.onClose(asyncListener(() => Promise.reject(new Error('async, in onClose'))));
    });
    const errors = errorsOf(served.plugin);
    const told = queue<number>();
    served.plugin.on('close', (_, code) => told.push(code));
    served.client.close(4000);
    const first = await errors.next();
    expect([first.error, first.socket]).toEqual([thrown, served.socket]);
    expect((await errors.next()).error.message).toBe('async, in onClose');
    expect(await served.ends.next()).toEqual({ code: 4000, reason: '' });
    expect(await told.next()).toBe(4000);
    expect(calls).toEqual(['second']);
    expect(served.plugin.getStats().totalConnections).toBe(0);
  });

  test('costs no other end of the same batch', async () => {
    const served = await serveRecorded({}, (socket) => {
      socket.onClose(() => {
        throw new Error('in onClose');
      });
    });
    const errors = errorsOf(served.plugin);
    const clients = await Promise.all(Array.from({ length: 20 }, () => connect(served.url())));
    for (const client of clients) client.close(4000);
    for (const _ of clients) {
      await errors.next();
      expect((await served.ends.next()).code).toBe(4000);
    }
    expect(served.plugin.getStats().totalConnections).toBe(0);
  });
});

describe('a listener of the plugin that throws', () => {
  test.each(['connection', 'close'] as const)(
    'for %s is reported, and the connection goes its way',
    async (event) => {
      const served = await serveRecorded({}, echo);
      const errors = errorsOf(served.plugin);
      served.plugin.on(event, () => {
        throw new Error(`in ${event}`);
      });
      const client = await connect(served.url());
      client.send('works');
      expect(await client.next()).toBe('works');
      client.close(4000);
      expect((await served.ends.next()).code).toBe(4000);
      expect((await errors.next()).error.message).toBe(`in ${event}`);
      await expectEcho(served.url());
    },
  );

  test.each(['room:created', 'room:destroyed'] as const)(
    'for %s is reported, and joining and leaving work',
    async (event) => {
      const served = await pair();
      const errors = errorsOf(served.plugin);
      served.plugin.on(event, () => {
        throw new Error(`in ${event}`);
      });
      served.socket.join('room');
      expect(served.plugin.getStats().rooms).toEqual(['room']);
      served.socket.leave('room');
      expect(served.plugin.getStats().rooms).toEqual([]);
      expect((await errors.next()).error.message).toBe(`in ${event}`);
      expect(errors.waiting).toEqual([]);
    },
  );

  test('for an event of the application is reported as well', async () => {
    const served = await serveRecorded({}, echo);
    const errors = errorsOf(served.plugin);
    served.app.on('plugin:WebSocketPlugin:connection', () => {
      throw new Error('in the application');
    });
    await expectEcho(served.url());
    expect((await errors.next()).error.message).toBe('in the application');
  });

  test('for error goes to stderr, and the process lives', async () => {
    const printed = stderr();
    const served = await pair(
      {},
      faulty(() => new Error('boom')),
    );
    served.plugin.on('error', () => {
      throw new Error('in the error listener');
    });
    served.client.send('boom');
    expect((await printed.next()).join(' ')).toContain('in the error listener');
    expect((await served.client.closed).code).toBe(1011);
    expect((await served.ends.next()).code).toBe(1011);
    await expectEcho(served.url());
  });

  test('for the error event of the application goes to stderr, and the process lives', async () => {
    const printed = stderr();
    const served = await pair(
      {},
      faulty(() => new Error('boom')),
    );
    served.app.on('plugin:WebSocketPlugin:error', () => {
      throw new Error('in the error listener');
    });
    served.client.send('boom');
    expect((await printed.next()).join(' ')).toContain('in the error listener');
    expect((await served.client.closed).code).toBe(1011);
    await expectEcho(served.url());
  });
});

describe('what is thrown and is not an Error becomes one', () => {
  const noText = {
    toString() {
      throw new Error('no text for you');
    },
  };
  test.each([
    ['a string', 'just text', 'just text'],
    ['a number', 42, '42'],
    ['undefined', undefined, 'undefined'],
    ['null', null, 'null'],
    ['a symbol', Symbol('why'), 'why'],
    ['an object', { code: 7 }, ''],
    ['an object without a prototype', Object.create(null), ''],
    ['an object that has no text', noText, ''],
  ])('%s', async (_, thrown, text) => {
    const served = await pair(
      {},
      faulty(() => thrown),
    );
    const errors = errorsOf(served.plugin);
    served.client.send('boom');
    const { error } = await errors.next();
    expect(error).toBeInstanceOf(Error);
    expect(error.message).toContain(text);
    expect(error.cause).toBe(thrown);
    expect((await served.client.closed).code).toBe(1011);
  });

  test('a subclass of Error stays what it is', async () => {
    class Mine extends TypeError {}
    const thrown = new Mine('mine');
    const served = await pair(
      {},
      faulty(() => thrown),
    );
    const errors = errorsOf(served.plugin);
    served.client.send('boom');
    expect((await errors.next()).error).toBe(thrown);
  });

  test('a rejection without a reason as well', async () => {
    const served = await pair({}, (socket) => {
      socket.onMessage(asyncListener(() => Promise.reject()));
    });
    const errors = errorsOf(served.plugin);
    served.client.send('x');
    expect((await errors.next()).error).toBeInstanceOf(Error);
    await until(() => served.plugin.getStats().totalConnections === 0);
  });
});

test('a handler that throws or rejects closes with 1011 and is reported with its connection', async () => {
  const handlers: (() => void | Promise<void>)[] = [
    () => {
      throw new Error('handler');
    },
    async () => {
      throw new Error('handler');
    },
  ];
  for (const handler of handlers) {
    const { url, plugin } = await serve({}, ({ wsApp }) => {
      wsApp.ws('/ws', handler);
    });
    const errors = errorsOf(plugin);
    const client = await connect(url());
    const { error, socket } = await errors.next();
    expect(error.message).toBe('handler');
    expect(socket?.id).toMatch(/^[0-9a-f-]{36}$/);
    expect((await client.closed).code).toBe(1011);
  }
});
