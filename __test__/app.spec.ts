/**
 * `examples/app` as its readers have it: compiled by its own `tsconfig.json`, run by Node, and behind nginx on
 * a path below another one. Its own suite is the project `app`.
 */

import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { Agent, request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { json } from 'node:stream/consumers';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { freePort } from '../scripts/free-port.mjs';
import { has, startNginx } from './docs/servers.js';
import { makeCertificate } from './support/certificate.js';
import { type Client, connect, refused } from './support/client.js';
import { createProgram, diagnosticsOf, packageRoot as root } from './types/compile.js';

/** A copy of the application, with what `npm install` would bring. */
const folder = realpathSync(mkdtempSync(join(tmpdir(), 'app-')));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

beforeAll(() => {
  const modules = join(folder, 'node_modules');
  for (const name of ['src', 'package.json', 'tsconfig.json', 'nginx.conf']) {
    cpSync(join(root, 'examples/app', name), join(folder, name), { recursive: true });
  }
  mkdirSync(join(modules, 'nextrush'), { recursive: true });
  symlinkSync(root, join(modules, 'nextrush-websocket'));
  symlinkSync(join(root, 'node_modules/@types'), join(modules, '@types'));
  const host = pathToFileURL(join(root, 'examples/host/index.js')).href;
  const manifest = { type: 'module', exports: { types: './index.d.ts', default: './index.js' } };
  writeFileSync(join(modules, 'nextrush/package.json'), JSON.stringify(manifest));
  writeFileSync(join(modules, 'nextrush/index.js'), `export * from '${host}';`);
  const types = JSON.stringify(join(root, 'examples/host/index.js'));
  writeFileSync(join(modules, 'nextrush/index.d.ts'), `export * from ${types};`);
});

const packages = {
  'nextrush-websocket': ['index.d.ts'],
  'nextrush-websocket/testing': ['lib/testing/index.d.ts'],
};

describe('the types', () => {
  const files = ['src', 'test'].flatMap((name) => {
    const place = join(root, 'examples/app', name);
    return readdirSync(place).map((file) => join(place, file));
  });

  test.each([
    ['the framework', '__test__/types/fixtures/nextrush-shape.ts'],
    ['the host that stands for it', 'examples/host/index.d.ts'],
  ])('fit %s, those of the suite as well', { timeout: 120_000 }, (_, nextrush) => {
    const paths = { ...packages, nextrush: [nextrush] };
    const strictest = { noUncheckedIndexedAccess: true, exactOptionalPropertyTypes: true };
    const options = { ...strictest, paths, skipLibCheck: true };
    expect(diagnosticsOf(createProgram(files, new Map(), options))).toEqual([]);
  });
});

/** Starts the application. Killed after the test. */
async function start(env: NodeJS.ProcessEnv = {}) {
  const port = await freePort();
  const child = spawn(process.execPath, ['dist/main.js'], {
    cwd: folder,
    env: { ...process.env, HOST: '127.0.0.1', PORT: String(port), WAVE_MS: '200', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text) => {
    stderr += text;
  });
  const exited = once(child, 'close').then(([code]) => ({ code, stderr }));
  const listening = once(createInterface(child.stdout), 'line').then(([line]) => line);
  expect(await Promise.race([listening, exited])).toBe(`listening on port ${port}`);
  return { port, exited, end: () => child.kill('SIGTERM') };
}

/** Anybody's certificate will do. */
const trusting = { rejectUnauthorized: false };

/** A request over TLS. */
async function ask(url: string, { method = 'GET', body = '', headers = {} } = {}) {
  const agent = new Agent(trusting);
  onTestFinished(() => agent.destroy());
  const type = { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body) };
  const sent = request(url, { method, agent, headers: { ...type, ...headers } }).end(body);
  const [response] = await once(sent, 'response');
  response.on('error', () => {});
  return response;
}

/** Logs somebody in, and returns the cookie, attributes included. */
async function login(url: string, name: string): Promise<string> {
  const response = await ask(`${url}/login`, { method: 'POST', body: JSON.stringify({ name }) });
  expect(await json(response)).toMatchObject({ user: { name } });
  return response.headers['set-cookie'][0];
}

async function next(client: Client, type: string): Promise<Record<string, unknown>> {
  for (;;) {
    const message = await client.nextJson();
    if (message.type === type) return message;
  }
}

describe('the program', () => {
  beforeAll(() => {
    const tsc = join(root, 'node_modules/typescript/bin/tsc');
    const { status, stdout } = spawnSync(process.execPath, [tsc], {
      cwd: folder,
      encoding: 'utf8',
    });
    expect({ status, stdout }).toEqual({ status: 0, stdout: '' });
  }, 120_000);

  test('speaks TLS, and ends gracefully', async () => {
    const tls = makeCertificate();
    writeFileSync(join(folder, 'cert.pem'), tls.cert);
    writeFileSync(join(folder, 'key.pem'), tls.key);
    const { port, exited, end } = await start({ CERT: 'cert.pem', KEY: 'key.pem' });
    const cookie = await login(`https://127.0.0.1:${port}`, 'Ada');
    const clients = [];
    for (let count = 0; count < 3; count += 1) {
      const url = `wss://127.0.0.1:${port}/rooms/tea`;
      const client = await connect(url, { ca: tls.cert, headers: { Cookie: cookie } });
      await next(client, 'welcome');
      clients.push(client);
    }
    end();
    for (const { closed } of clients) {
      expect(await closed).toEqual({ code: 1012, reason: 'service restart' });
    }
    expect(await exited).toEqual({ code: 0, stderr: '' });
  });

  test.skipIf(!has('nginx'))('is served below another path by nginx', async () => {
    const { port } = await start({ ORIGIN: 'https://example.com', TRUST_PROXY: 'loopback' });
    const listen = await freePort();
    const site = readFileSync(join(folder, 'nginx.conf'), 'utf8');
    await startNginx(site, { listen, upstreams: [port] });
    const [url, wss] = [`https://127.0.0.1:${listen}/chat`, `wss://127.0.0.1:${listen}/chat`];

    const cookie = await login(url, 'Ada');
    expect(cookie).toMatch(/; Path=\/chat\/; HttpOnly; SameSite=Lax; Secure$/);
    const options = { ...trusting, origin: 'https://example.com', headers: { Cookie: cookie } };
    const ada = await connect(`${wss}/rooms/tea?since=0`, options);
    expect(await next(ada, 'welcome')).toMatchObject({ you: { name: 'Ada' } });
    ada.send('{"type":"say","text":"through nginx"}');
    expect(await next(ada, 'said')).toMatchObject({ text: 'through nginx' });

    const elsewhere = { ...options, origin: 'http://127.0.0.1:3000' };
    expect(await refused(`${wss}/rooms/tea`, elsewhere)).toMatchObject({ status: 403 });
    const stranger = { ...options, headers: {} };
    expect(await refused(`${wss}/rooms/tea`, stranger)).toMatchObject({ status: 401 });
    for (const path of ['/metrics', '/metrics/', '//health', '/%6detrics']) {
      expect((await ask(`${url}${path}`)).statusCode).toBe(404);
    }
    const moved = await ask(url);
    expect([moved.statusCode, new URL(moved.headers.location).pathname]).toEqual([301, '/chat/']);
    const numbers = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
    expect(numbers).toMatch(/^nextrush_websocket_connections 1$/m);
  });
});
