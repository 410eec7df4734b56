/** The options of the documentation are those that the constructor reads. */

import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { WebSocketPlugin } from '../index.js';
import { documents, withTables } from '../scripts/option-tables.mjs';
import { membersOf } from './docs/code.js';
import { root, tableRowsOf } from './docs/markdown.js';

test.each(documents)('%s has the options as they are read', (file) => {
  // Where this fails: node scripts/option-tables.mjs
  expect(readFileSync(join(root, file), 'utf8')).toBe(withTables(file));
});

test.each<[string, string, () => unknown]>([
  ['WebSocketPluginOptions', '', () => new WebSocketPlugin({ '?': 1 } as object)],
  [
    'PerMessageDeflateOptions',
    'perMessageDeflate.',
    () => new WebSocketPlugin({ perMessageDeflate: { '?': 1 } as object }),
  ],
  ['WSRouteOptions', '', () => methods().ws('/x', { '?': 1 } as object, () => {})],
])('the types declare all of %s and no other', (declaration, prefix, act) => {
  let known: string[] = [];
  try {
    act();
  } catch (error) {
    const [, list = ''] = (error as Error).message.split('accepted are ');
    known = list.split(', ').map((name) => name.slice(1 + prefix.length, -1));
  }
  expect(
    membersOf(declaration)
      .map(({ name }) => name)
      .sort(),
  ).toEqual(known.sort());
});

function methods() {
  return new WebSocketPlugin().attach(createServer());
}

test('the tables are where readers look for them', () => {
  const names = tableRowsOf('docs/api.md').map(([first]) => first);
  expect(names).toEqual(expect.arrayContaining(['`path`', '`use`', '`threshold`']));
});
