/**
 * Installs the package by each package manager from a registry, as users do, and runs the quick start as
 * both kinds of module on every version of Node.
 */
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import ts from 'typescript';
import { NODE_LINES, runtime } from '../scripts/runtimes.mjs';
import { node, npm, run } from './command.mjs';
import { packInstalled } from './pack.mjs';
import { writeQuickStart } from './project.mjs';
import { startRegistry } from './registry.mjs';
import { step } from './step.mjs';
import { MANAGERS } from './versions.mjs';

/**
 * Of each way to install: the `settings` it needs, how it installs, and what Node is started with besides.
 * All of them keep what they download in the project, as the registry's versions differ with each build.
 */
const WAYS = {
  npm: {
    settings: ({ url }) => ({ '.npmrc': `registry=${url}\ncache=./cache\n` }),
    install: (cwd) => npm(['install', '--no-audit', '--no-fund'], { cwd }),
  },
  pnpm: {
    settings: ({ url }) => ({
      '.npmrc': `registry=${url}\n`,
      'pnpm-workspace.yaml': 'storeDir: ./store\ncacheDir: ./cache\n',
    }),
    install: (cwd, tool) => run(tool('pnpm'), ['install'], { cwd }),
  },
  'yarn, node_modules': yarn('node-modules'),
  'yarn, PnP': {
    ...yarn('pnp'),
    flags: ['--require', './.pnp.cjs', '--loader', './.pnp.loader.mjs', '--no-warnings'],
  },
  Bun: {
    settings: ({ url }) => ({
      'bunfig.toml': `[install]\nregistry = "${url}"\n[install.cache]\ndir = "./cache"\n`,
    }),
    install: (cwd, tool) => run(tool('bun'), ['install'], { cwd }),
  },
};

function yarn(linker) {
  return {
    settings: ({ url }) => ({
      'yarn.lock': '',
      '.yarnrc.yml': [
        `nodeLinker: ${linker}`,
        `npmRegistryServer: "${url}"`,
        'unsafeHttpWhitelist: ["127.0.0.1"]',
        'globalFolder: ./cache',
        'enableGlobalCache: false',
        'enableTelemetry: false',
        // Yarn writes it only where the application says that it is an ES module.
        'pnpEnableEsmLoader: true',
      ].join('\n'),
    }),
    install: (cwd, tool) =>
      node([tool('yarn')], {
        cwd,
        env: { YARN_IGNORE_PATH: '1', YARN_ENABLE_IMMUTABLE_INSTALLS: '0' },
      }),
  };
}

export async function tryManagers({ work, packed }) {
  const tools = path.join(work, 'managers');
  await step('npm install, of package managers', () => {
    mkdirSync(tools);
    writeFileSync(path.join(tools, 'package.json'), JSON.stringify({ dependencies: MANAGERS }));
    npm(['install', '--no-audit', '--no-fund'], { cwd: tools });
  });
  const tool = (name) => path.join(tools, 'node_modules', '.bin', name);
  const { main, platforms, host } = packed;
  const [client] = packInstalled('ws', work);
  const registry = await startRegistry([main, ...platforms, host, client]);
  try {
    for (const [name, way] of Object.entries(WAYS)) {
      const folder = path.join(tools, name.replaceAll(/\W/g, '-'));
      await tryWay(name, way, { folder, tool, registry });
    }
  } finally {
    await registry.stop();
  }
}

async function tryWay(name, { settings, install, flags = [] }, { folder, tool, registry }) {
  await step(`installed by ${name}`, () => {
    writeQuickStart(path.join(folder, 'esm'), ts.ModuleKind.ESNext, 'run.js');
    writeFileSync(path.join(folder, 'esm', 'package.json'), '{ "type": "module" }');
    writeQuickStart(path.join(folder, 'commonjs'), ts.ModuleKind.CommonJS, 'run.js');
    const dependencies = { 'nextrush-websocket': '*', nextrush: '*', ws: '*' };
    const manifest = { name: 'application', private: true, dependencies };
    writeFileSync(path.join(folder, 'package.json'), JSON.stringify(manifest));
    for (const [file, text] of Object.entries(settings(registry))) {
      writeFileSync(path.join(folder, file), text);
    }
    install(folder, tool);
  });
  for (const line of NODE_LINES) {
    await step(`installed by ${name}, on Node ${line}`, () => {
      for (const format of ['esm', 'commonjs']) {
        const printed = run(runtime(line), [...flags, `${format}/run.js`], { cwd: folder });
        assert.match(printed, /two clients have talked/);
      }
    });
  }
}
