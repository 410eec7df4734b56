/**
 * Checks the workflows with actionlint, which comes from PyPI: `npm run lint:workflows`. A machine that
 * cannot install it says so; with `--required` that fails.
 */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { lackOf } from './tools/lacking.mjs';
import { programsOf } from './tools/python.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));

let status = 0;
const lacking = lackOf(() => {
  const actionlint = join(programsOf('actionlint'), 'actionlint');
  status = spawnSync(actionlint, { cwd: root, stdio: 'inherit' }).status ?? 1;
});
if (lacking) {
  console.log(`The workflows are not checked: ${lacking}`);
  status = process.argv.includes('--required') ? 1 : 0;
}
process.exitCode = status;
