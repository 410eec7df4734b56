/** Runs the quick start in an npm project: TypeScript, Node as both kinds of module, vitest and jest. */
import path from 'node:path';
import { node } from './command.mjs';
import { chosenPlatform, copySources, installProject, ours } from './project.mjs';
import { step } from './step.mjs';
import { JEST } from './versions.mjs';

const ENTRIES = ['esm/run.ts', 'esm/chat.spec.ts', 'esm/errors.spec.ts', 'commonjs/run.ts'];
const STRICT = '--strict --target es2022 --types node'.split(' ');

export async function tryRunners({ work, packed }) {
  const project = path.join(work, 'runners');
  /** Runs a program that is installed in the project. */
  const installed = (program, args) =>
    node([path.join('node_modules', program), ...args], { cwd: project });

  await step('npm install, without cargo', () => {
    const tools = ours('@types/node', '@types/ws', 'typescript', 'vitest', 'ws');
    installProject(project, packed, { ...tools, jest: JEST });
    copySources(path.join(project, 'esm'), 'module', (name) => !name.includes('.jest.'));
    copySources(path.join(project, 'commonjs'), 'commonjs', (name) => !name.includes('.spec.'));
  });
  const chosen = await step('npm chooses one of seven binaries', () =>
    chosenPlatform(project, packed.platforms),
  );
  console.log(`  ${chosen}`);

  for (const resolution of ['node16', 'nodenext', 'bundler']) {
    const module = resolution === 'bundler' ? 'preserve' : resolution;
    const modes = ['--module', module, '--moduleResolution', resolution];
    await step(`tsc --strict, moduleResolution ${resolution}`, () =>
      installed('typescript/bin/tsc', [...STRICT, ...modes, '--noEmit', ...ENTRIES]),
    );
  }
  for (const pool of ['threads', 'forks']) {
    for (const isolate of ['--isolate', '--no-isolate']) {
      await step(`vitest --pool ${pool} ${isolate}`, () =>
        installed('vitest/vitest.mjs', ['run', '--pool', pool, isolate, 'spec.ts']),
      );
    }
  }
  await step('tsc, for node and jest', () =>
    installed('typescript/bin/tsc', [...STRICT, '--module', 'nodenext', ...ENTRIES]),
  );
  for (const format of ['esm', 'commonjs']) {
    await step(`node, ${format}`, () => node([`${format}/run.js`], { cwd: project }));
  }
  for (const workers of ['--runInBand', '--maxWorkers=2', '--workerThreads']) {
    await step(`jest ${workers}`, () =>
      installed('jest/bin/jest.js', ['--testMatch', '**/*.jest.js', workers]),
    );
  }
}
