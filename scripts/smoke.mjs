/**
 * Installs the package into an empty project, and has a client speak with a server of it:
 *
 *     node scripts/smoke.mjs nextrush-websocket@2.0.0    # as it is published
 *     node scripts/smoke.mjs packages/*.tgz              # as it will be
 *
 * Of this checkout it uses the host of the examples only, so that it runs wherever there is Node.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readdirSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

/** A registry may need a while until it has what was given to it. */
const ATTEMPTS = 6;
const PAUSE_MS = 20_000;

const PROGRAM = `
import { once } from 'node:events';
import { WebSocketPlugin, withWebSocket } from 'nextrush-websocket';
import WebSocket from 'ws';
import { createApp } from './host/index.js';

const app = createApp();
const plugin = new WebSocketPlugin({ path: '/ws' });
plugin.install(app);
withWebSocket(app).ws('/ws', (socket) => {
  socket.onMessage((data) => socket.send(data));
});
const server = app.listen(0, '127.0.0.1');
await once(server, 'listening');
const client = new WebSocket(\`ws://127.0.0.1:\${server.address().port}/ws\`);
client.on('open', () => client.send('hello'));
const [answer] = await once(client, 'message');
if (answer.toString() !== 'hello') throw new Error(\`the answer is \${answer}\`);
client.close();
await plugin.cleanup();
server.close();
await app.eventSystem.shutdown();
console.log('It answers.');
`;

const given = process.argv.slice(2);
if (given.length === 0) {
  console.error('usage: node scripts/smoke.mjs PACKAGE@VERSION | TARBALL...');
  process.exit(2);
}
const project = realpathSync(mkdtempSync(join(tmpdir(), 'smoke-')));
try {
  writeProject();
  await install();
  const modules = readdirSync(join(project, 'node_modules'));
  console.log(modules.filter((name) => name.startsWith('nextrush-websocket')).join(', '));
  if (run(process.execPath, ['run.mjs']) !== 0) process.exitCode = 1;
} finally {
  rmSync(project, { recursive: true, force: true });
}

function writeProject() {
  const tarballs = given.filter((name) => name.endsWith('.tgz'));
  const isMain = (file) => /^nextrush-websocket-\d/.test(basename(file));
  const entry = (file) => [
    basename(file).replace(/-\d+\.\d+\.\d+.*$/, ''),
    `file:${resolve(file)}`,
  ];
  const packages = given.filter((name) => !name.endsWith('.tgz')).map((name) => name.split('@'));
  const manifest = {
    private: true,
    type: 'module',
    dependencies: {
      ws: '^8.18.0',
      ...Object.fromEntries(packages),
      ...Object.fromEntries(tarballs.filter(isMain).map(entry)),
    },
    // Of which npm takes the one that fits.
    optionalDependencies: Object.fromEntries(tarballs.filter((file) => !isMain(file)).map(entry)),
  };
  writeFileSync(join(project, 'package.json'), JSON.stringify(manifest));
  cpSync(fileURLToPath(new URL('../examples/host', import.meta.url)), join(project, 'host'), {
    recursive: true,
  });
  writeFileSync(join(project, 'run.mjs'), PROGRAM);
}

async function install() {
  for (let attempt = 1; ; attempt++) {
    if (run('npm', ['install', '--no-audit', '--no-fund']) === 0) return;
    if (attempt === ATTEMPTS) throw new Error('npm install failed');
    await sleep(PAUSE_MS);
  }
}

function run(command, args) {
  const shell = process.platform === 'win32' && command === 'npm';
  return spawnSync(command, args, { cwd: project, stdio: 'inherit', shell }).status;
}
