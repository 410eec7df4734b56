/// <reference lib="dom" />
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { WSSocket } from '../index.js';
import { type Browser, findChromium, launch } from './support/browser.js';
import { queue } from './support/events.js';
import { echo, type Recorded, serveRecorded } from './support/pair.js';
import type { ServeOptions } from './support/server.js';
import { httpUrl } from './support/transport.js';
import { until } from './support/until.js';

const chromium = findChromium();
if (!chromium) {
  console.warn(
    'browser.spec.ts is skipped: no Chromium. Install one (apt install chromium), or name it in CHROMIUM.',
  );
}

type PageEvent =
  | { type: 'open' }
  | { type: 'message'; data: unknown }
  | { type: 'error' }
  | { type: 'close'; code: number; reason: string; wasClean: boolean };

/**
 * Runs in the page: a WebSocket of the browser, and what happens to it one after the other. The
 * functions that the tests run in the page find it there.
 */
function openSocket(url: string, protocols: string[] = []) {
  const socket = new WebSocket(url, protocols);
  socket.binaryType = 'arraybuffer';
  const events: PageEvent[] = [];
  const takers: ((event: PageEvent) => void)[] = [];
  const push = (event: PageEvent) => {
    const taker = takers.shift();
    if (taker) taker(event);
    else events.push(event);
  };
  socket.onopen = () => push({ type: 'open' });
  socket.onmessage = ({ data }) => push({ type: 'message', data });
  socket.onerror = () => push({ type: 'error' });
  socket.onclose = ({ code, reason, wasClean }) => push({ type: 'close', code, reason, wasClean });
  const next = (): Promise<PageEvent> => {
    const event = events.shift();
    return event ? Promise.resolve(event) : new Promise((resolve) => takers.push(resolve));
  };
  /** The data of the next event, which has to be a message. */
  const nextData = async () => {
    const event = await next();
    if (event.type !== 'message') throw new Error(`not a message: ${JSON.stringify(event)}`);
    return event.data;
  };
  /** Resolves once the connection is open; fails where it does not open. */
  const opened = async () => {
    const event = await next();
    if (event.type !== 'open') throw new Error(`not open: ${JSON.stringify(event)}`);
  };
  return { socket, next, nextData, opened };
}

/** What the page keeps between two functions of a test. */
declare const kept: { page: ReturnType<typeof openSocket> };

const html = `<!doctype html><title>test</title><script>${openSocket}; const kept = {};</script>`;

describe.skipIf(!chromium)('a Chromium', () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await launch(chromium as string);
  });
  afterAll(() => browser?.close());

  /** Serves `/ws` and, on the same port, the page. */
  function servePage(options: ServeOptions = {}, handler?: (socket: WSSocket) => void) {
    const before: ServeOptions['before'] = (app) => {
      options.before?.(app);
      app.get('/', ({ res }) => {
        res.set('content-type', 'text/html; charset=utf-8').send(html);
      });
    };
    return serveRecorded({ ...options, before }, handler);
  }

  /** Another tab on the server's page. */
  const openTab = ({ port }: Recorded) => browser.open(httpUrl(port));

  /** A tab with an open connection, `kept.page`, and the server's end of it. */
  async function pageOf(served: Recorded) {
    const tab = await openTab(served);
    await tab.run(async (url) => {
      kept.page = openSocket(url);
      await kept.page.opened();
    }, served.url());
    return { ...served, tab, socket: await served.sockets.next() };
  }

  const pagePair = async (options?: ServeOptions, handler?: (socket: WSSocket) => void) =>
    pageOf(await servePage(options, handler));

  describe('exchanges messages', () => {
    test('text', async () => {
      const { tab, messages } = await pagePair({}, echo);
      const text = 'Grüße, Ἑλλάς, 日本, 🎈\u0000';
      const answer = await tab.run((data) => {
        kept.page.socket.send(data);
        return kept.page.nextData();
      }, text);
      expect(answer).toBe(text);
      expect(await messages.next()).toBe(text);
    });

    test('an empty text', async () => {
      const { tab, messages } = await pagePair({}, echo);
      const answer = await tab.run(() => {
        kept.page.socket.send('');
        return kept.page.nextData();
      });
      expect(answer).toBe('');
      expect(await messages.next()).toBe('');
    });

    test('binary, as an ArrayBuffer', async () => {
      const { tab, messages } = await pagePair({}, echo);
      const answer = await tab.run(async () => {
        kept.page.socket.send(Uint8Array.from({ length: 256 }, (_, byte) => byte).buffer);
        const data = await kept.page.nextData();
        return data instanceof ArrayBuffer && [...new Uint8Array(data)];
      });
      const bytes = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
      expect(answer).toEqual([...bytes]);
      expect(await messages.next()).toEqual(bytes);
    });

    test('binary, as a Blob', async () => {
      const { tab, messages } = await pagePair({}, echo);
      const answer = await tab.run(async () => {
        kept.page.socket.binaryType = 'blob';
        kept.page.socket.send(new Blob([Uint8Array.of(0, 1, 254, 255)]));
        const data = await kept.page.nextData();
        return data instanceof Blob && [...new Uint8Array(await data.arrayBuffer())];
      });
      expect(answer).toEqual([0, 1, 254, 255]);
      expect(await messages.next()).toEqual(Buffer.of(0, 1, 254, 255));
    });

    // Around each change of the length field, and up to the default of maxMessageSize.
    test.each([1, 125, 126, 65_535, 65_536, 1024 * 1024])('of %i bytes', async (size) => {
      const { tab, messages } = await pagePair({}, echo);
      const same = await tab.run(async (length) => {
        const { socket, nextData } = kept.page;
        const text = 'abcdefghijklmnopqrstuvwxyz'.repeat(length / 26 + 1).slice(0, length);
        socket.send(text);
        const textCameBack = (await nextData()) === text;
        const bytes = Uint8Array.from({ length }, (_, index) => index * 7);
        socket.send(bytes);
        const answer = new Uint8Array((await nextData()) as ArrayBuffer);
        const binaryCameBack =
          answer.length === length && answer.every((byte, index) => byte === bytes[index]);
        return { textCameBack, binaryCameBack };
      }, size);
      expect(same).toEqual({ textCameBack: true, binaryCameBack: true });
      const lengths = [await messages.next(), await messages.next()].map(({ length }) => length);
      expect(lengths).toEqual([size, size]);
    });

    test('in order, a hundred at once in each direction', async () => {
      const { tab, messages } = await pagePair({}, echo);
      const answers = await tab.run(async () => {
        for (let number = 0; number < 100; number++) kept.page.socket.send(`message ${number}`);
        const received: unknown[] = [];
        while (received.length < 100) received.push(await kept.page.nextData());
        return received;
      });
      const expected = Array.from({ length: 100 }, (_, number) => `message ${number}`);
      expect(answers).toEqual(expected);
      expect(messages.waiting).toEqual(expected);
    });

    test('that the server sends as soon as there is a connection', async () => {
      const served = await servePage({}, (socket) => {
        for (const number of [1, 2, 3]) socket.send(`welcome ${number}`);
      });
      const tab = await openTab(served);
      const events = await tab.run(async (url) => {
        const page = openSocket(url);
        return [await page.next(), await page.next(), await page.next(), await page.next()];
      }, served.url());
      const welcome = [1, 2, 3].map((number) => ({ type: 'message', data: `welcome ${number}` }));
      expect(events).toEqual([{ type: 'open' }, ...welcome]);
    });

    test('in a room, between two tabs', async () => {
      const served = await servePage({}, (socket) => {
        socket.join('lobby');
        socket.onMessage((data) => served.wsApp.wsBroadcast(`all: ${data}`, 'lobby'));
        socket.onMessage((data) => socket.broadcast('lobby', `others: ${data}`));
      });
      const { tab: one } = await pageOf(served);
      const { tab: other } = await pageOf(served);
      await one.run(() => kept.page.socket.send('one'));
      expect(await one.run(() => kept.page.nextData())).toBe('all: one');
      expect(await other.run(() => kept.page.nextData())).toBe('all: one');
      expect(await other.run(() => kept.page.nextData())).toBe('others: one');
      await other.run(() => kept.page.socket.send('two'));
      // What comes next at the first tab is not its own message for the others.
      expect(await one.run(() => kept.page.nextData())).toBe('all: two');
      expect(await one.run(() => kept.page.nextData())).toBe('others: two');
    });

    test('and answers pings', async () => {
      const { socket } = await pagePair({ heartbeatMs: 20 });
      const opened = socket.lastPong;
      await until(() => socket.lastPong > opened);
      expect(socket.isAlive).toBe(true);
    });
  });

  describe('ends a connection', () => {
    test('with its own code and reason', async () => {
      const { tab, ends } = await pagePair();
      const event = await tab.run(() => {
        kept.page.socket.close(4001, 'über €');
        return kept.page.next();
      });
      expect(event).toEqual({ type: 'close', code: 4001, reason: 'über €', wasClean: true });
      expect(await ends.next()).toEqual({ code: 4001, reason: 'über €' });
    });

    test('without a code', async () => {
      const { tab, ends } = await pagePair();
      const event = await tab.run(() => {
        kept.page.socket.close();
        return kept.page.next();
      });
      expect(event).toEqual({ type: 'close', code: 1005, reason: '', wasClean: true });
      expect(await ends.next()).toEqual({ code: 1005, reason: '' });
    });

    test('as the server says, with its code and reason', async () => {
      const { tab, socket, ends } = await pagePair();
      socket.close(4002, 'ende €');
      const event = await tab.run(() => kept.page.next());
      expect(event).toEqual({ type: 'close', code: 4002, reason: 'ende €', wasClean: true });
      expect(await ends.next()).toEqual({ code: 4002, reason: 'ende €' });
    });

    test('after it has got what the server sent before', async () => {
      const { tab, socket } = await pagePair();
      socket.send('last words');
      socket.close(1000);
      const events = await tab.run(async () => [await kept.page.next(), await kept.page.next()]);
      expect(events).toEqual([
        { type: 'message', data: 'last words' },
        { type: 'close', code: 1000, reason: '', wasClean: true },
      ]);
    });

    test('with 1009 where a message was too long', async () => {
      const { tab, ends } = await pagePair({ maxMessageSize: 1000 });
      const event = await tab.run(() => {
        kept.page.socket.send('x'.repeat(1001));
        return kept.page.next();
      });
      expect(event).toMatchObject({ type: 'close', code: 1009, wasClean: true });
      expect((await ends.next()).code).toBe(1009);
    });

    test('by leaving the page, with 1001', async () => {
      const { tab, ends } = await pagePair();
      await tab.close();
      expect((await ends.next()).code).toBe(1001);
    });
  });

  describe('meets a refusal with an error and 1006', () => {
    const refusal = [{ type: 'error' }, { type: 'close', code: 1006, reason: '', wasClean: false }];

    async function eventsOn(served: Recorded, path = '/ws', protocols: string[] = []) {
      const tab = await openTab(served);
      return tab.run(
        async (url, offered) => {
          const page = openSocket(url, offered);
          return [await page.next(), await page.next()];
        },
        served.url(path),
        protocols,
      );
    }

    test('from verifyClient', async () => {
      const served = await servePage({ verifyClient: () => false });
      expect(await eventsOn(served)).toEqual(refusal);
      expect(served.plugin.getStats().rejected.unauthorized).toBe(1);
    });

    test('for its origin', async () => {
      const served = await servePage({ allowOrigins: ['https://example.com'] });
      expect(await eventsOn(served)).toEqual(refusal);
      expect(served.plugin.getStats().rejected.origin).toBe(1);
    });

    test('for a path that nobody serves', async () => {
      const served = await servePage();
      expect(await eventsOn(served, '/nowhere')).toEqual(refusal);
      expect(served.plugin.getStats().rejected.path).toBe(1);
    });

    test('where it offers subprotocols and none of them is spoken', async () => {
      const served = await servePage({ protocols: ['chat.v2', 'chat.v1'] });
      expect(await eventsOn(served, '/ws', ['chat.v3'])).toEqual(refusal);
    });
  });

  test('is let in by the origin of its page', async () => {
    const { tab } = await pagePair({ allowOrigins: [httpUrl('*', '')] }, echo);
    const answer = await tab.run(() => {
      kept.page.socket.send('hello');
      return kept.page.nextData();
    });
    expect(answer).toBe('hello');
  });

  describe('agrees on a subprotocol', () => {
    async function spoken(offered: string[]) {
      const protocols = queue<string>();
      const served = await servePage({ protocols: ['chat.v2', 'chat.v1'] }, (socket) =>
        protocols.push(socket.protocol),
      );
      const tab = await openTab(served);
      const protocol = await tab.run(
        async (url, names) => {
          const page = openSocket(url, names);
          await page.opened();
          return page.socket.protocol;
        },
        served.url(),
        offered,
      );
      return { browser: protocol, server: await protocols.next() };
    }

    test('that both speak', async () => {
      const both = { browser: 'chat.v1', server: 'chat.v1' };
      expect(await spoken(['other', 'chat.v1'])).toEqual(both);
    });

    test('or on none, where it offers none', async () => {
      expect(await spoken([])).toEqual({ browser: '', server: '' });
    });
  });

  describe('compresses', () => {
    /** 200,000 characters, of which no two words are the same. */
    const words = Array.from({ length: 20_000 }, (_, number) => `word${number}`).join(' ');

    test('where the server does', async () => {
      const { tab, messages, plugin } = await pagePair({ perMessageDeflate: true }, echo);
      const { extensions, answers } = await tab.run(async (text) => {
        const { socket, nextData } = kept.page;
        // Three times, so that both sides go on with what they remember of the message before.
        for (let time = 0; time < 3; time++) socket.send(text);
        const received = [await nextData(), await nextData(), await nextData()];
        return { extensions: socket.extensions, answers: received };
      }, words);
      expect(extensions).toMatch(/^permessage-deflate/);
      expect(answers).toEqual([words, words, words]);
      expect(messages.waiting).toEqual([words, words, words]);
      expect(plugin.getStats().bytesSent).toBeLessThan(words.length);
    });

    test('binary messages, too', async () => {
      const { tab, plugin } = await pagePair({ perMessageDeflate: true }, echo);
      const same = await tab.run(async () => {
        const bytes = Uint8Array.from({ length: 300_000 }, (_, index) => (index >> 8) * 31);
        kept.page.socket.send(bytes);
        const answer = new Uint8Array((await kept.page.nextData()) as ArrayBuffer);
        return answer.length === bytes.length && answer.every((byte, at) => byte === bytes[at]);
      });
      expect(same).toBe(true);
      expect(plugin.getStats().bytesSent).toBeLessThan(30_000);
    });

    test('what a room is told, for each of its members', async () => {
      const served = await servePage({ perMessageDeflate: true }, (socket) => socket.join('all'));
      const { tab: one } = await pageOf(served);
      const { tab: other } = await pageOf(served);
      for (const text of [words, 'short', words]) served.wsApp.wsBroadcast(text, 'all');
      for (const tab of [one, other]) {
        const answers = await tab.run(async () => {
          const { nextData } = kept.page;
          return [await nextData(), await nextData(), await nextData()];
        });
        expect(answers).toEqual([words, 'short', words]);
      }
    });

    test('not where the server does not', async () => {
      const { tab } = await pagePair({}, echo);
      expect(await tab.run(() => kept.page.socket.extensions)).toBe('');
    });
  });
});
