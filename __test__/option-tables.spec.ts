/** The options of the documentation are those that the constructor reads. */

import { readFileSync } from 'node:fs';
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

test.each(['WebSocketPluginOptions', 'PerMessageDeflateOptions'])(
  'the types declare all of %s and no other',
  (declaration) => {
    const prefix = declaration.startsWith('Per') ? 'perMessageDeflate.' : '';
    const unknown = prefix === '' ? { '?': 1 } : { perMessageDeflate: { '?': 1 } };
    let known: string[] = [];
    try {
      new WebSocketPlugin(unknown as object);
    } catch (error) {
      const [, list = ''] = (error as Error).message.split('accepted are ');
      known = list.split(', ').map((name) => name.slice(1 + prefix.length, -1));
    }
    expect(
      membersOf(declaration)
        .map(({ name }) => name)
        .sort(),
    ).toEqual(known.sort());
  },
);

test('the tables are where readers look for them', () => {
  const names = tableRowsOf('docs/api.md').map(([first]) => first);
  expect(names).toEqual(expect.arrayContaining(['`path`', '`threshold`']));
});
