/// <reference lib="dom" />
import type { Server } from 'node:http';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { start as startChat } from '../demos/chat/server.js';
import { start as startDashboard } from '../demos/dashboard/server.js';
import { start as startGame } from '../demos/game/server.js';
import type { WebSocketPlugin } from '../index.js';
import { type Browser, findChromium, launch, type Tab } from './support/browser.js';
import { type Client, connect } from './support/client.js';
import { portOf } from './support/server.js';
import { until } from './support/until.js';

const chromium = findChromium();
if (!chromium) {
  console.warn(
    'demos.spec.ts is skipped: no Chromium. Install one (apt install chromium), or name it in CHROMIUM.',
  );
}

type Start = (options: {
  port: number;
}) => Promise<{ server: Server; wsPlugin: WebSocketPlugin; close(): Promise<void> }>;

describe.skipIf(!chromium)('in Chromium', () => {
  let browser: Browser;

  beforeAll(async () => {
    browser = await launch(String(chromium));
  }, 60_000);

  afterAll(() => browser.close());

  async function run(start: Start) {
    const { server, wsPlugin, close } = await start({ port: 0 });
    onTestFinished(close);
    const port = await portOf(server);
    return {
      wsPlugin,
      open: (path = '/') => browser.open(`http://127.0.0.1:${port}${path}`),
      connect: (path: string) => connect(`ws://127.0.0.1:${port}${path}`),
    };
  }

  /** Waits for an element to have some text. */
  const shows = (tab: Tab, selector: string, wanted: string | RegExp) =>
    until(async () => {
      const text = await tab.run((css) => document.querySelector(css)?.textContent ?? '', selector);
      return typeof wanted === 'string' ? text.includes(wanted) : wanted.test(text);
    });

  describe('the chat', () => {
    async function enter(open: (path?: string) => Promise<Tab>, name: string, room = 'lobby') {
      const tab = await open();
      await tab.run(
        (name, room) => {
          sessionStorage.setItem('name', name);
          location.hash = room;
          location.reload();
        },
        name,
        room,
      );
      await shows(tab, '#people', `${name} (you)`);
      return tab;
    }

    const say = (tab: Tab, text: string) =>
      tab.run((text) => {
        const input = document.querySelector<HTMLInputElement>('#text');
        if (input === null) throw new Error('no input');
        input.value = text;
        input.form?.requestSubmit();
      }, text);

    test('shows everyone in a room what is said, who is there and who is typing', async () => {
      const { open } = await run(startChat);
      const ada = await enter(open, 'Ada');
      const grace = await enter(open, 'Grace');
      await shows(ada, '#people', 'Grace');
      await say(ada, 'Is <b>anybody</b> here?');
      await shows(grace, '#messages', 'Is <b>anybody</b> here?');
      await grace.run(() => {
        const input = document.querySelector<HTMLInputElement>('#text');
        if (input === null) throw new Error('no input');
        input.value = 'Yes';
        input.dispatchEvent(new Event('input'));
      });
      await shows(ada, '#typing', 'Grace is typing…');
      await grace.close();
      await until(
        async () => !(await ada.run(() => document.body.textContent ?? '')).includes('Grace (you)'),
      );
      await until(
        async () => (await ada.run(() => document.querySelectorAll('#people li').length)) === 1,
      );
    });

    test('keeps rooms apart, and shows what was said before', async () => {
      const { open } = await run(startChat);
      const ada = await enter(open, 'Ada', 'films');
      await say(ada, 'Metropolis');
      await shows(ada, '#messages', 'Metropolis');
      const grace = await enter(open, 'Grace');
      expect(await grace.run(() => document.querySelectorAll('#messages li').length)).toBe(0);
      await grace.run(() => {
        location.hash = 'films';
      });
      await shows(grace, '#messages', 'Metropolis');
      await shows(ada, '#rooms [aria-current] .count', '2');
    });

    test('misses nothing while its connection is lost, and shows nothing twice', async () => {
      const { open, connect, wsPlugin } = await run(startChat);
      const ada = await enter(open, 'Ada');
      await say(ada, 'before');
      await shows(ada, '#messages', 'before');
      for (const socket of wsPlugin.connections) socket.terminate();
      const other = await connect('/chat/lobby?name=Grace');
      other.send(JSON.stringify({ type: 'say', text: 'meanwhile' }));
      await shows(ada, '#messages', 'meanwhile');
      await shows(ada, '#state', 'Connected');
      const texts = await ada.run(() =>
        [...document.querySelectorAll('#messages .text')].map(({ textContent }) => textContent),
      );
      expect(texts).toEqual(['before', 'meanwhile']);
    });
  });

  describe('the dashboard', () => {
    test('draws thousands of values a second, and what they cost the server', async () => {
      const { open } = await run(startDashboard);
      const tab = await open();
      await shows(tab, '#state', 'Connected');
      await shows(tab, '#received', /^[1-9]/);
      await shows(tab, '#sent', /^[1-9]/);
      await shows(tab, '#delay', / ms$/);
      // Something has been drawn into each plot.
      const blank = await tab.run(
        () =>
          [...document.querySelectorAll('canvas')].filter((canvas) => {
            const { width, height } = canvas;
            const pixels = canvas.getContext('2d')?.getImageData(0, 0, width, height).data ?? [];
            return !pixels.some((value) => value !== 0);
          }).length,
      );
      expect(blank).toBe(0);
      expect(await tab.run(() => document.querySelectorAll('canvas').length)).toBe(5);
    });

    test('lets its users choose how much it is', async () => {
      const { open } = await run(startDashboard);
      const [one, other] = [await open(), await open()];
      await shows(one, '#rates [aria-pressed="true"]', '4,800/s');
      await shows(other, '#rates [aria-pressed="true"]', '4,800/s');
      await one.run(() => document.querySelector<HTMLButtonElement>('#rates button')?.click());
      await shows(other, '#rates [aria-pressed="true"]', '1,200/s');
    });
  });

  describe('the game', () => {
    /** Where an orb is, in the next snapshot that has it. */
    async function place(client: Client, id: number) {
      for (;;) {
        const data = await client.next();
        if (typeof data === 'string') continue;
        for (let at = 4; at < data.length; at += 8) {
          if (data.readUInt16LE(at) === id) return data.readUInt16LE(at + 2) / 16;
        }
      }
    }

    test('has every player see the others, and go where the server says', async () => {
      const { open, connect } = await run(startGame);
      const watcher = await connect('/arena?name=Watcher');
      const tab = await open();
      await tab.run(() => {
        const name = document.querySelector<HTMLInputElement>('#name');
        if (name === null) throw new Error('no name');
        name.value = 'Barbara L';
        name.form?.requestSubmit();
      });
      await shows(tab, '#state', 'Connected');
      await shows(tab, '#leaders', 'Watcher');
      await shows(tab, '#leaders .me', 'Barbara L');

      let id: number | undefined;
      while (id === undefined) {
        const data = await watcher.next();
        if (typeof data !== 'string') continue;
        const { players = [] } = JSON.parse(data);
        id = players.find(({ name }: { name: string }) => name === 'Barbara L')?.id;
      }
      const steer = (key: string) =>
        tab.run((key) => dispatchEvent(new KeyboardEvent('keydown', { key })), key);
      // At the edge there is only one way to go.
      const before = await place(watcher, id);
      const isLeft = before < 1200;
      await steer(isLeft ? 'ArrowRight' : 'ArrowLeft');
      const orb = id;
      await until(async () => {
        const now = await place(watcher, orb);
        return isLeft ? now > before + 20 : now < before - 20;
      });
    });
  });
});
