/** A real browser: Chromium without a window, driven over its DevTools protocol. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { createInterface } from 'node:readline';
import { onTestFinished } from 'vitest';
import WebSocket from 'ws';

const FLAGS = [
  '--headless',
  '--remote-debugging-port=0',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  // That of the test's own server.
  '--ignore-certificate-errors',
];

/** How long the browser has for ending by itself, in milliseconds. */
const CLOSE_LIMIT = 5000;

/** The browser to use: `CHROMIUM`, or the first of the usual names on the PATH. */
export function findChromium(): string | undefined {
  const names = ['chromium', 'chromium-browser', 'google-chrome'];
  const folders = process.env.PATH?.split(delimiter) ?? [];
  const onPath = names.flatMap((name) => folders.map((folder) => join(folder, name)));
  return [process.env.CHROMIUM, ...onPath].find((file) => file && isExecutable(file));
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** One page, closed after the test. */
export interface Tab {
  /**
   * Calls a function in the page and resolves with what it returns or its promise settles with.
   * The function sees the page and its arguments, which travel as JSON, and nothing of the test.
   */
  run<A extends unknown[], T>(script: (...args: A) => T, ...args: A): Promise<Awaited<T>>;
  /** Closes the page, as a user does. */
  close(): Promise<void>;
}

export interface Browser {
  /** Opens a page and waits until it has loaded. */
  open(url: string): Promise<Tab>;
  close(): Promise<void>;
}

/** Starts the browser with a new profile, which goes when the browser is closed. */
export async function launch(executable: string): Promise<Browser> {
  const profile = mkdtempSync(join(tmpdir(), 'nextrush-websocket-browser-'));
  const child = spawn(executable, [...FLAGS, `--user-data-dir=${profile}`, 'about:blank'], {
    stdio: ['ignore', 'ignore', 'pipe'],
    // A group of its own: what the browser starts is ended with it.
    detached: true,
    // Everything that it leaves behind is in the profile.
    env: { ...process.env, HOME: profile, TMPDIR: profile },
  });
  child.on('error', () => {}); // its stderr ends, too
  const kill = () => killGroup(child);
  process.once('exit', kill);
  const ended = once(child, 'close');
  const removeProfile = () => {
    process.off('exit', kill);
    rmSync(profile, { recursive: true, force: true, maxRetries: 10 });
  };
  try {
    const devTools = await DevTools.connect(await debuggingUrl(child));
    const close = async () => {
      const limit = setTimeout(kill, CLOSE_LIMIT);
      await devTools.send('Browser.close').catch(kill);
      await ended;
      clearTimeout(limit);
      kill();
      removeProfile();
    };
    return { open: (url) => openTab(devTools, url), close };
  } catch (error) {
    kill();
    await ended;
    removeProfile();
    throw error;
  }
}

function killGroup({ pid }: ChildProcess): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL');
  } catch {
    // All of them have ended.
  }
}

/** The address that the browser prints among other things. */
function debuggingUrl({ stderr }: ChildProcess): Promise<string> {
  const said: string[] = [];
  return new Promise((resolve, reject) => {
    if (stderr === null) return reject(new Error('the browser has no stderr'));
    // Read to the end, so that the browser never blocks on it.
    const lines = createInterface({ input: stderr });
    lines.on('line', (line) => {
      said.push(line);
      const url = /^DevTools listening on (ws:\S+)/.exec(line)?.[1];
      if (url) resolve(url);
    });
    lines.on('close', () => reject(new Error(`the browser ended: ${said.join('\n')}`)));
  });
}

async function openTab(devTools: DevTools, url: string): Promise<Tab> {
  // A context has its own cookies, caches and connections, like a private window.
  const { browserContextId } = await devTools.send('Target.createBrowserContext');
  const { targetId } = await devTools.send('Target.createTarget', {
    url: 'about:blank',
    browserContextId,
  });
  const { sessionId } = await devTools.send('Target.attachToTarget', { targetId, flatten: true });
  await devTools.send('Page.enable', {}, sessionId);
  const loaded = devTools.event('Page.loadEventFired', sessionId);
  await devTools.send('Page.navigate', { url }, sessionId);
  await loaded;

  let closing: Promise<unknown> | undefined;
  const close = async () => {
    closing ??= devTools.send('Target.disposeBrowserContext', { browserContextId });
    await closing;
  };
  onTestFinished(close);
  return {
    close,
    async run(script, ...args) {
      const { result, exceptionDetails } = await devTools.send(
        'Runtime.evaluate',
        {
          expression: `(${script})(...${JSON.stringify(args)})`,
          awaitPromise: true,
          returnByValue: true,
        },
        sessionId,
      );
      if (exceptionDetails) throw new Error(`in the page: ${describe(exceptionDetails)}`);
      return result.value;
    },
  };
}

// biome-ignore lint/suspicious/noExplicitAny: what the protocol's methods return, by its own docs
type Answer = any;

/** What was thrown, without the stack: the test runner would look for the page's source files. */
function describe({ exception, text }: Answer): string {
  return exception?.description?.split('\n    at ')[0] ?? exception?.value ?? text;
}

/** The DevTools protocol: numbered requests and their answers, and events. */
class DevTools {
  #socket: WebSocket;
  #number = 0;
  #requests = new Map<number, (answer: Answer) => void>();
  #events = new Map<string, () => void>();

  static async connect(url: string): Promise<DevTools> {
    const socket = new WebSocket(url, { perMessageDeflate: false, maxPayload: 0 });
    await once(socket, 'open');
    return new DevTools(socket);
  }

  constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.on('message', (data) => this.#receive(JSON.parse(data.toString())));
    socket.on('close', () => {
      for (const id of this.#requests.keys()) this.#receive({ id, error: 'the browser has ended' });
    });
  }

  #receive({ id, method, sessionId, ...answer }: Answer): void {
    this.#requests.get(id)?.(answer);
    this.#requests.delete(id);
    this.#events.get(`${sessionId} ${method}`)?.();
  }

  /** Calls a method of the browser, or of the page that a session is attached to. */
  async send(method: string, params: object = {}, sessionId?: string): Promise<Answer> {
    this.#number += 1;
    const id = this.#number;
    const answered = new Promise<Answer>((resolve) => this.#requests.set(id, resolve));
    this.#socket.send(JSON.stringify({ id, method, params, sessionId }));
    const { result, error } = await answered;
    if (error) throw new Error(`${method}: ${JSON.stringify(error)}`);
    return result;
  }

  /** Resolves when an event comes the next time. */
  event(method: string, sessionId: string): Promise<void> {
    return new Promise((resolve) => this.#events.set(`${sessionId} ${method}`, resolve));
  }
}
