/** Which licences the crates may have, and the texts that have to go with a binary. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import parse from 'spdx-expression-parse';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** What asks for no more than that its text goes along. */
const ALLOWED = [
  ...['Apache-2.0', 'BSD-2-Clause', 'BSD-3-Clause', 'BSL-1.0', 'ISC', 'MIT', 'Unicode-3.0'],
  ...['Unlicense', 'Zlib'],
];

/** Texts of crates that come without one, by the repository that they and what has the text are of. */
const BY_REPOSITORY = {
  'https://github.com/napi-rs/napi-rs': 'node_modules/@napi-rs/cli/LICENSE',
};

const NAME = /^(un)?licen[sc]e|^copying|^copyright|^notice/i;

const RULE = '-'.repeat(80);

/** Whether an SPDX expression leaves a choice of allowed licences only. */
export function isAllowed(expression) {
  return passes(parse(expression));
}

function passes({ conjunction, left, right, license, plus }) {
  if (conjunction === 'or') return passes(left) || passes(right);
  if (conjunction === 'and') return passes(left) && passes(right);
  // An exception only allows more.
  return ALLOWED.includes(license) && !plus;
}

/**
 * The licence texts of crates, each once, below the names of those that have it.
 *
 * @param {import('./crates.mjs').Crate[]} crates
 */
export function licenseTexts(crates) {
  /** By its words: line breaks differ. */
  const found = new Map();
  for (const crate of crates) {
    for (const text of textsOf(crate)) {
      const words = text.split(/\s+/).join(' ');
      if (!found.has(words)) found.set(words, { text, owners: [] });
      found.get(words).owners.push(`${crate.name} ${crate.version} (${crate.license})`);
    }
  }
  const parts = [...found.values()].map(
    ({ text, owners }) => `${RULE}\n${owners.join('\n')}\n${RULE}\n\n${text}`,
  );
  return `The binary in this package contains the crates named here, under these licences.\n\n${parts.join('\n\n')}\n`;
}

/** The texts that came with a crate; throws where there are none. */
function textsOf({ name, version, folder, repository }) {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && NAME.test(entry.name))
    .filter((entry) => ['', '.md', '.txt'].includes(extname(entry.name).toLowerCase()))
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name));
  const other = BY_REPOSITORY[repository];
  if (files.length === 0 && other && existsSync(join(root, other))) files.push(join(root, other));
  if (files.length === 0)
    throw new Error(`${name} ${version} comes without the text of its licence`);
  return files.sort().map((file) => readFileSync(file, 'utf8').replaceAll('\r\n', '\n').trim());
}
