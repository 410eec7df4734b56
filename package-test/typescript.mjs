/** Compiles an application with compilers from the oldest that takes the types to the newest. */
import assert from 'node:assert/strict';
import { cpSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { node } from './command.mjs';
import { copySources, installProject, ours } from './project.mjs';
import { step } from './step.mjs';
import { TYPESCRIPTS } from './versions.mjs';

/** Everything that makes a compiler look closer. */
const STRICT = {
  strict: true,
  exactOptionalPropertyTypes: true,
  noUncheckedIndexedAccess: true,
  noPropertyAccessFromIndexSignature: true,
  verbatimModuleSyntax: true,
  isolatedModules: true,
  target: 'es2022',
  noEmit: true,
};

const majorOf = (version) => Number.parseInt(version, 10);

/** The ways to resolve modules that a version knows, and what each of them asks for. */
function resolutionsOf(version) {
  const modern = {
    node16: { module: 'node16', moduleResolution: 'node16' },
    nodenext: { module: 'nodenext', moduleResolution: 'nodenext' },
    bundler: { module: 'esnext', moduleResolution: 'bundler' },
  };
  if (majorOf(version) >= 7) return modern;
  const ignoreDeprecations = majorOf(version) === 6 ? { ignoreDeprecations: '6.0' } : {};
  const node10 = { module: 'esnext', moduleResolution: 'node10', ...ignoreDeprecations };
  return { ...modern, node10 };
}

export async function tryCompilers({ work, packed }) {
  const project = path.join(work, 'typescript');
  const compilerOf = (version) =>
    path.join(project, 'node_modules', `typescript-${version}`, 'bin', 'tsc');
  await step('npm install, of compilers', () => {
    const compilers = TYPESCRIPTS.map((version) => [
      `typescript-${version}`,
      `npm:typescript@${version}`,
    ]);
    installProject(project, packed, {
      ...Object.fromEntries(compilers),
      ...ours('@types/node'),
    });
    copySources(path.join(project, 'src'), 'module', (name) => name === 'consumer.ts');
  });
  for (const version of TYPESCRIPTS) {
    for (const [resolution, options] of Object.entries(resolutionsOf(version))) {
      // With the declarations checked: without, a compiler has less to say.
      await step(`TypeScript ${version}, ${resolution}`, () =>
        compile(project, compilerOf(version), { ...STRICT, ...options, skipLibCheck: false }),
      );
    }
  }
  const bare = path.join(work, 'typescript-bare');
  const main = path.join('node_modules', 'nextrush-websocket');
  for (const name of ['src', main]) {
    cpSync(path.join(project, name), path.join(bare, name), { recursive: true });
  }
  for (const version of TYPESCRIPTS) {
    await step(`TypeScript ${version} names what is missing without @types/node`, () => {
      const options = { ...STRICT, ...resolutionsOf(version).nodenext };
      const words = /nextrush-websocket\/index\.d\.ts.*Cannot find type definition file for 'node'/;
      assert.throws(() => compile(bare, compilerOf(version), options), words);
    });
  }
}

function compile(project, compiler, compilerOptions) {
  const config = { compilerOptions, include: ['src'] };
  writeFileSync(path.join(project, 'tsconfig.json'), JSON.stringify(config));
  node([compiler, '--project', '.', '--pretty', 'false'], { cwd: project });
}
