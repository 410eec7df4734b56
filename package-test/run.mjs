#!/usr/bin/env node
/**
 * Installs the package as its users do, and has them run the quick start: packs the main package
 * and those of the platforms, installs the tarballs into an empty project where nothing can be
 * compiled, and runs TypeScript, Node, vitest and jest there. `npm run test:package`; with
 * `-- --keep` the project stays.
 *
 * The map: `pack` makes the tarballs from the binaries that were built here, `command` runs
 * programs, and `project/` is the project.
 */
import assert from 'node:assert/strict';
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { forgetCargo, node, npm, root } from './command.mjs';
import { packHost, packPackages } from './pack.mjs';

/** Not among our own development dependencies: nothing else here needs it. */
const JEST = '^30.5.2';

const { values: options } = parseArgs({ options: { keep: { type: 'boolean', default: false } } });
const work = realpathSync(mkdtempSync(path.join(tmpdir(), 'package-test-')));
const project = path.join(work, 'project');
try {
  run();
} finally {
  if (options.keep) console.log(`Left in ${work}`);
  else rmSync(work, { recursive: true, force: true });
}

function run() {
  const [main, ...platforms] = step('pack', () => packPackages(work));
  const [host] = step('pack the host of the examples as nextrush', () => packHost(work));
  step('the main package has no binary, and no script that runs when it is installed', () => {
    assert.equal(
      main.files.find((name) => name.endsWith('.node')),
      undefined,
    );
    const { scripts } = readManifest();
    for (const event of ['preinstall', 'install', 'postinstall']) assert(!(event in scripts));
  });

  makeProject(main, platforms, host);
  forgetCargo();
  step('npm install, without cargo', () =>
    npm(['install', '--ignore-scripts', '--no-audit', '--no-fund'], { cwd: project }),
  );
  const chosen = step('npm chooses one of seven binaries', () => {
    const installed = readdirSync(path.join(project, 'node_modules'));
    const names = platforms.map(({ name }) => name).filter((name) => installed.includes(name));
    assert.equal(platforms.length, 7);
    assert.equal(names.length, 1, names.join(', '));
    return names[0];
  });
  console.log(`  ${chosen}`);

  const strict = '--strict --target es2022 --types node'.split(' ');
  const entries = ['esm/run.ts', 'esm/chat.spec.ts', 'esm/errors.spec.ts', 'commonjs/run.ts'];
  for (const resolution of ['node16', 'nodenext', 'bundler']) {
    const module = resolution === 'bundler' ? 'preserve' : resolution;
    const modes = ['--module', module, '--moduleResolution', resolution];
    step(`tsc --strict, moduleResolution ${resolution}`, () =>
      inProject('typescript/bin/tsc', [...strict, ...modes, '--noEmit', ...entries]),
    );
  }
  for (const pool of ['threads', 'forks']) {
    for (const isolate of ['--isolate', '--no-isolate']) {
      step(`vitest --pool ${pool} ${isolate}`, () =>
        inProject('vitest/vitest.mjs', ['run', '--pool', pool, isolate, 'spec.ts']),
      );
    }
  }
  step('tsc, for node and jest', () =>
    inProject('typescript/bin/tsc', [...strict, '--module', 'nodenext', ...entries]),
  );
  for (const format of ['esm', 'commonjs']) {
    step(`node, ${format}`, () => node([`${format}/run.js`], { cwd: project }));
  }
  for (const workers of ['--runInBand', '--maxWorkers=2', '--workerThreads']) {
    step(`jest ${workers}`, () =>
      inProject('jest/bin/jest.js', ['--testMatch', '**/*.jest.js', workers]),
    );
  }
}

/** Everything installed from tarballs, and the sources as ES modules and as CommonJS. */
function makeProject(main, platforms, host) {
  copySources('esm', 'module', (name) => !name.includes('.jest.'));
  copySources('commonjs', 'commonjs', (name) => !name.includes('.spec.'));
  const { devDependencies } = readManifest();
  const tools = ['@types/node', '@types/ws', 'typescript', 'vitest', 'ws'];
  const tarballs = (packages) =>
    Object.fromEntries(packages.map(({ name, tarball }) => [name, `file:${tarball}`]));
  const manifest = {
    private: true,
    dependencies: tarballs([main, host]),
    // Named here because they come from no registry; npm still chooses among them by platform.
    optionalDependencies: tarballs(platforms),
    devDependencies: {
      ...Object.fromEntries(tools.map((name) => [name, devDependencies[name]])),
      jest: JEST,
    },
  };
  writeFileSync(path.join(project, 'package.json'), JSON.stringify(manifest, null, 2));
}

function copySources(folder, type, filter) {
  const source = fileURLToPath(new URL('project', import.meta.url));
  const destination = path.join(project, folder);
  mkdirSync(destination, { recursive: true });
  for (const name of readdirSync(source).filter(filter)) {
    cpSync(path.join(source, name), path.join(destination, name));
  }
  writeFileSync(path.join(destination, 'package.json'), JSON.stringify({ type }));
}

function readManifest() {
  return JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'));
}

/** Runs a program that is installed in the project. */
function inProject(program, args) {
  return node([path.join('node_modules', program), ...args], { cwd: project });
}

/** Does something and says so. */
function step(what, action) {
  const started = performance.now();
  try {
    const result = action();
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    console.log(`✓ ${what} (${seconds} s)`);
    return result;
  } catch (error) {
    console.log(`✗ ${what}`);
    throw error;
  }
}
