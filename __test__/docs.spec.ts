/**
 * The documentation does what it says.
 *
 * - Every `js` and `ts` block becomes a file in a project like a reader's (`docs/project.ts`), is
 *   type-checked there with the package's own types, and runs in a process of its own. A block whose
 *   first line is a comment with a file name becomes that file, and others can import it.
 * - What a program has to do for a client is in `docs/programs.ts`, by the title of its block: the
 *   file and the heading above it, and ` (2)` from the second block under a heading on. A program
 *   without an entry has to start to listen, or to end, without a word on stderr.
 * - A fragment uses names that it does not declare: `app`, `wsApp`, `userOfToken` … The modules in
 *   `docs/names/` have them; an import in front of the fragment, on its first line, makes it a
 *   program.
 * - Port 3000 becomes a free one, by `docs/preload.mjs`.
 * - `sh` blocks run, but for `npm`: there the script or the packages have to exist.
 * - nginx, systemd and Prometheus check their files where they are installed, and WebSockets go through
 *   that nginx. What Kubernetes is told has to fit the program that it is about.
 *   Programs that need Redis or NATS have one where it is installed, and are skipped elsewhere.
 * - `text` blocks of the troubleshooting page are messages that have to be in the code.
 * - Links and anchors have to lead somewhere, and what `types/` declares has to be in the tables,
 *   options with the same defaults.
 */

import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { load } from 'js-yaml';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import packageJson from '../package.json';
import { TRIED } from '../package-test/bundlers.mjs';
import { readRecipes } from '../package-test/recipes.mjs';
import { freePort } from '../scripts/free-port.mjs';
import { exportedNames, isInCode, membersOf, valuesOf } from './docs/code.js';
import { type Block, blocksOf, deadLinksOf, root, tableRowsOf } from './docs/markdown.js';
import { brokers, outputs, programs, servers, shell } from './docs/programs.js';
import { isCode, Project } from './docs/project.js';
import { has, problemsForPrometheus, problemsOfUnit, startNginx } from './docs/servers.js';
import { hasBroker, startBroker } from './support/broker.js';
import { connect, refused } from './support/client.js';

/** What is looked at of a Deployment of Kubernetes. */
interface KubernetesDeployment {
  spec: {
    selector: { matchLabels: object };
    template: {
      metadata: { labels: object };
      spec: {
        terminationGracePeriodSeconds: number;
        containers: [
          {
            ports: [{ containerPort: number }];
            env: [{ name: string; value: string }];
            readinessProbe: { httpGet: { path: string } };
            lifecycle: { preStop: { exec: { command: [string, string] } } };
          },
        ];
      };
    };
  };
}

const documents = ['.', 'docs', 'docs/guide', 'examples', 'examples/app'].flatMap((folder) =>
  readdirSync(join(root, folder))
    .filter((name) => name.endsWith('.md'))
    .map((name) => join(folder, name)),
);

/** Its blocks are tried with the bundlers themselves, by `npm run test:package`. */
const RECIPES = 'docs/guide/bundlers.md';

const blocks = documents
  .filter((file) => file.startsWith('docs/') || /^(README|SECURITY)/.test(file))
  .filter((file) => file !== RECIPES)
  .flatMap(blocksOf);

const inLanguage = (language: string) => blocks.filter((block) => block.language === language);

function blockOf(title: string): Block {
  const block = blocks.find((candidate) => candidate.title === title);
  if (!block) throw new Error(`there is no block ${title}`);
  return block;
}

const project = new Project(blocks);
afterAll(() => project.remove());

/** Starts the program that `title` needs beside it, and returns its port. */
async function portOfServer(title: string | undefined): Promise<number | undefined> {
  return title === undefined ? undefined : (await project.run(blockOf(title))).port;
}

describe('programs', () => {
  let diagnostics: Map<Block, string[]>;

  beforeAll(() => {
    diagnostics = project.diagnostics();
  }, 120_000);

  for (const block of blocks.filter(isCode)) {
    test(block.title, async ({ skip }) => {
      expect(diagnostics.get(block)).toEqual([]);
      if (block.code.includes("from 'vitest'")) return passesItsTests(block);
      const broker = brokers[block.title];
      if (broker && !hasBroker(broker.program)) return skip();
      const env = broker?.env((await startBroker(broker.program)).port);
      const run = await project.run(block, await portOfServer(servers[block.title]), env);
      if (run.ended()) expect(await run.exited).toEqual({ code: 0, signal: null, stderr: '' });
      await programs[block.title]?.(run);
      if (run.ended()) expect(await run.exited).toMatchObject({ code: 0, signal: null });
      expect(run.stderr()).toBe('');
    });
  }

  async function passesItsTests(block: Block): Promise<void> {
    const runner = join(root, 'node_modules/vitest/vitest.mjs');
    const run = await project.start([runner, 'run', '--reporter=json', project.programOf(block)]);
    expect(await run.exited).toEqual({ code: 0, signal: null, stderr: '' });
    expect(JSON.parse(await run.line())).toMatchObject({ success: true, numFailedTests: 0 });
  }

  test('what is expected is expected of a block', () => {
    for (const title of Object.keys({
      ...programs,
      ...servers,
      ...brokers,
      ...shell,
      ...outputs,
    })) {
      expect(blockOf(title).title).toBe(title);
    }
  });

  test.each(Object.entries(outputs))('%s is what its program prints', (title, isPrinted) => {
    for (const line of blockOf(title).code.trim().split('\n')) expect(line).toMatch(isPrinted);
  });
});

describe('shell commands', () => {
  const { name, scripts, devDependencies } = packageJson;
  const packages = [name, ...Object.keys(devDependencies)];

  for (const { title, code } of inLanguage('sh')) {
    test(title, async ({ skip }) => {
      const joined = code.replace(/ +#.*/g, '').replace(/\\\n */g, '');
      for (const line of joined.trim().split('\n')) {
        const [program, command = '', ...words] = line.split(/ +/);
        const names = words.filter((word) => !word.startsWith('-'));
        // Alpine and Windows have none.
        if (program !== 'npm' && !has('bash')) skip('bash is not installed');
        if (program !== 'npm') await runs(title, line);
        else if (command === 'install') expect(packages).toEqual(expect.arrayContaining(names));
        else expect(scripts).toHaveProperty(command === 'run' ? `${names[0]}` : command);
      }
    });
  }

  async function runs(title: string, line: string): Promise<void> {
    const expected = shell[title];
    if (!expected) throw new Error(`docs/programs.ts does not say what ${title} prints`);
    if ('notRun' in expected) {
      expect(spawnSync('bash', ['-nc', line], { encoding: 'utf8' }).stderr).toBe('');
    } else {
      const port = await portOfServer(expected.server);
      const ours = line.replaceAll('3000', `${port}`);
      expect(spawnSync('bash', ['-ec', ours], { encoding: 'utf8' }).stdout).toMatch(
        expected.prints,
      );
    }
  }
});

describe('configurations of other programs', () => {
  test.skipIf(!has('nginx'))('nginx', { timeout: 60_000 }, async () => {
    const site = blockOf('docs/guide/deployment.md > nginx');
    const upstream = await portOfServer('docs/guide/getting-started.md > First server');
    const listen = await freePort();
    await startNginx(site.code, { listen, upstreams: [upstream ?? 0] });

    const url = `wss://127.0.0.1:${listen}`;
    const trusting = { rejectUnauthorized: false };
    const clients = [];
    for (let count = 0; count < 20; count += 1) {
      clients.push(await connect(`${url}/echo`, trusting));
    }
    for (const client of clients) {
      expect(await client.next()).toBe('welcome');
      client.send('through nginx');
      expect(await client.next()).toBe('through nginx');
    }
    expect(await refused(`${url}/echo`, trusting)).toMatchObject({ status: 503 });
    clients[0]?.close(4000, 'bye');
    expect(await clients[0]?.closed).toEqual({ code: 4000, reason: 'bye' });
  });

  test.skipIf(!has('nginx'))('nginx, below another path', { timeout: 60_000 }, async () => {
    const site = blockOf('docs/guide/deployment.md > Below another path');
    const upstream = await portOfServer('docs/guide/deployment.md > Below another path (2)');
    const listen = await freePort();
    await startNginx(site.code, { listen, upstreams: [upstream ?? 0] });

    const url = `wss://127.0.0.1:${listen}`;
    const fromPage = { rejectUnauthorized: false, origin: 'https://example.com' };
    for (const path of ['/chat/rooms/tea', '/chat/rooms/tea/']) {
      const client = await connect(url + path, fromPage);
      expect(await client.next()).toBe(`${path.replace('/chat', '')} for 127.0.0.1`);
    }
    const fromElsewhere = { ...fromPage, origin: 'http://127.0.0.1:3000' };
    expect(await refused(`${url}/chat/rooms/tea`, fromElsewhere)).toMatchObject({ status: 403 });
    const asIfWithoutSlash = `ws://127.0.0.1:${upstream}//rooms/tea`;
    expect(await refused(asIfWithoutSlash, fromPage)).toMatchObject({ status: 404 });
    expect(await refused(`${url}/chat`, fromPage)).toMatchObject({ status: 301 });
  });

  test.skipIf(!has('nginx') || !hasBroker('redis-server'))(
    'nginx before two servers that share their rooms',
    { timeout: 60_000 },
    async () => {
      const title = 'docs/guide/several-machines.md > Redis and Valkey';
      const broker = brokers[title];
      const env = broker?.env((await startBroker('redis-server')).port);
      const runs = [
        await project.run(blockOf(title), undefined, env),
        await project.run(blockOf(title), undefined, env),
      ];
      for (const run of runs) expect(await run.line()).toBe('one of several');
      const site = blockOf('docs/guide/several-machines.md > Behind nginx');
      const listen = await freePort();
      await startNginx(site.code, { listen, upstreams: runs.map(({ port }) => port) });

      const url = `wss://127.0.0.1:${listen}/chat`;
      const clients = [];
      for (let count = 0; count < 4; count += 1) {
        clients.push(await connect(url, { rejectUnauthorized: false }));
      }
      const processes = new Set<string>();
      for (const client of clients) processes.add(`${await client.next()}`);
      expect(processes.size).toBe(2);
      // A first member's subscription takes its time.
      let heard = 0;
      for (const client of clients) client.ws.once('message', () => (heard += 1));
      while (heard < clients.length) {
        clients[0]?.send('through nginx');
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      for (const client of clients) expect(await client.next()).toBe('through nginx');
      runs[0]?.signal('SIGTERM');
      expect(await runs[0]?.exited).toMatchObject({ code: 0, signal: null, stderr: '' });
      // Whoever comes now gets to the one that is left.
      const late = await connect(url, { rejectUnauthorized: false });
      expect(processes).toContain(`${await late.next()}`);
    },
  );

  test.skipIf(!hasBroker('redis-server'))('the rights of a Redis user', async () => {
    const guide = readFileSync(join(root, 'docs/guide/several-machines.md'), 'utf8');
    const [, command = ''] = /`(ACL SETUSER ws on >password [^`]+)`/.exec(guide) ?? [];
    const { port } = await startBroker('redis-server');
    const redis = spawnSync('redis-cli', ['-p', `${port}`, ...command.split(' ')]);
    expect(`${redis.stdout}`).toBe('OK\n');
    const run = await project.run(
      blockOf('docs/guide/several-machines.md > Redis and Valkey'),
      undefined,
      { REDIS_URL: `redis://ws:password@127.0.0.1:${port}` },
    );
    expect(await run.line()).toBe('one of several');
    // That the room can be heard is seen by who says something: nothing is refused.
    const client = await run.connect('/chat');
    expect(await client.next()).toMatch(/^process/);
    client.send('hello');
    expect(await client.next()).toBe('hello');
    expect(run.stderr()).toBe('');
  });

  test.skipIf(!has('systemd-analyze'))('systemd', () => {
    for (const { code } of inLanguage('ini')) expect(problemsOfUnit(code)).toBe('');
  });

  test.skipIf(!has('promtool'))('Prometheus', () => {
    const [config, rules] = inLanguage('yaml').filter(({ file }) => /observability/.test(file));
    expect(problemsForPrometheus('config', config?.code ?? '')).toBe('');
    expect(problemsForPrometheus('rules', rules?.code ?? '')).toBe('');
    expect(problemsForPrometheus('rules', 'groups: 1')).not.toBe('');
  });

  test('Kubernetes gives the program the time that it takes', () => {
    const program = blockOf('docs/guide/deployment.md > In waves').code;
    const { code } = blockOf('docs/guide/deployment.md > Containers and Kubernetes');
    const { spec } = load(code) as KubernetesDeployment;
    const { containers, terminationGracePeriodSeconds: period } = spec.template.spec;
    const [{ env, ports, readinessProbe, lifecycle }] = containers;
    const { name, value } = env[0];
    expect(program).toContain(`process.env.${name}`);
    expect(program).toContain(`app.get('${readinessProbe.httpGet.path}'`);
    expect(program).toContain(`app.listen(${ports[0].containerPort}, '0.0.0.0')`);
    const [, closeTimeoutMs] = /closeTimeoutMs: (\d+)/.exec(program) ?? [];
    const [, preStop] = lifecycle.preStop.exec.command;
    const longest = Number(preStop) + (Number(value) + Number(closeTimeoutMs)) / 1000 + 1;
    expect(period).toBeGreaterThan(longest);
    expect(spec.template.metadata.labels).toEqual(spec.selector.matchLabels);
  });

  test('are nginx, systemd, Prometheus and Kubernetes', () => {
    const counts = ['nginx', 'ini', 'yaml'].map((language) => inLanguage(language).length);
    expect(counts).toEqual([3, 1, 3]);
    if (!has('nginx')) console.warn('nginx is not installed: its configuration was not tried.');
    if (!has('systemd-analyze')) console.warn('systemd is not installed: its unit was not tried.');
  });
});

describe('recipes for bundlers', () => {
  const recipes = readRecipes();

  test('are those that npm run test:package tries', () => {
    expect([...recipes.keys()].toSorted()).toEqual(TRIED.toSorted());
    // A block that no recipe has would be tried by nobody; one copies a file, as another one does.
    const used = [...recipes.values()].flatMap(({ files, commands }) => [
      ...Object.values(files).map((code) => code.trim()),
      commands.join('\n'),
    ]);
    const others = blocksOf(RECIPES).filter(({ code }) => !used.includes(code.trim()));
    expect(others.map(({ code }) => code.trim())).toEqual([
      'cp node_modules/nextrush-websocket-*/*.node dist/',
      'npm install --os=linux --cpu=arm64 --libc=glibc',
    ]);
  });
});

describe('blocks', () => {
  test('are of a language that is tried here', () => {
    const tried = ['js', 'ts', 'sh', 'text', 'nginx', 'ini', 'yaml'];
    const others = blocks.filter(({ language }) => !tried.includes(language));
    const drawings = ['docs/architecture.md', 'docs/guide/several-machines.md'];
    expect(new Set(others.map(({ file }) => file))).toEqual(new Set(drawings));
  });

  const messages = inLanguage('text').filter(
    ({ file, title }) => file === 'docs/troubleshooting.md' && !(title in outputs),
  );
  for (const { title, code } of messages) {
    test(`${title}: the messages are those of the code`, () => {
      const lines = code.trim().split('\n');
      expect(lines.filter((message) => !isInCode(message))).toEqual([]);
    });
  }
});

test.each(documents)('the links of %s lead somewhere', (file) => {
  expect(deadLinksOf(file)).toEqual([]);
});

describe('tables', () => {
  /** The rows of a document whose first cell begins with a name in backquotes. */
  const rowsOf = (file: string) =>
    tableRowsOf(file).map(([name = '', ...cells]) => ({
      names: [...name.matchAll(/`(\w[\w:]*)/g)].map(([, found]) => found),
      cells,
    }));

  /** As in `types/`, where a table writes 1,000. */
  const plain = (cell: string) => cell.replace(/^`(.*)`$/, '$1').replace(/(\d),(?=\d{3})/g, '$1');

  test.each([
    ['README.md', 'WebSocketPluginOptions'],
    ['docs/api.md', 'WebSocketPluginOptions'],
    ['docs/api.md', 'PerMessageDeflateOptions'],
    ['docs/api.md', 'WebSocketTlsOptions'],
  ])('%s has every member of %s with its default', (file, declaration) => {
    const defaults = Object.fromEntries(
      membersOf(declaration).map(({ name }) => {
        const row = rowsOf(file).find(({ names }) => names[0] === name);
        return [name, row?.cells.map(plain)];
      }),
    );
    for (const member of membersOf(declaration)) {
      expect(defaults[member.name], member.name).toContain(member.default ?? 'undefined');
    }
  });

  test.each([
    'WebSocketPlugin',
    'WSConnection',
    'WSSocket',
    'WSRoomManager',
    'WSConnections',
    'WSStats',
    'WSNumbers',
    'WSClusterOptions',
    'WSClusterStats',
    'WSClusterGap',
    'WebSocketPluginEvents',
    'WSRoomEvents',
  ])('docs/api.md has every member of %s', (declaration) => {
    const inTables = rowsOf('docs/api.md').flatMap(({ names }) => names);
    expect(inTables).toEqual(
      expect.arrayContaining(membersOf(declaration).map(({ name }) => name)),
    );
  });

  test('docs/api.md has every export, and no other', () => {
    const [, exports = ''] = readFileSync(join(root, 'docs/api.md'), 'utf8').split(/^## .*$/m);
    const named = [...exports.matchAll(/`([A-Z]\w+|with\w+|has\w+)/g)].map(([, name]) => name);
    expect(new Set(named.filter((name) => name !== 'TypeError'))).toEqual(new Set(exportedNames()));
  });

  test('docs/api.md has every reason to refuse an upgrade, and no other', () => {
    const reasons = tableRowsOf('docs/api.md')
      .filter(([status = '']) => /^(\d{3}|any)$/.test(status))
      .map(([, reason = '']) => reason.replaceAll('`', ''));
    expect(new Set(reasons)).toEqual(new Set(valuesOf('WSRejectReason')));
  });
});
