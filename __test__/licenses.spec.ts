/** Which licences the crates in the binary may have. `npm run lint` asks it of each of them. */
import { describe, expect, test } from 'vitest';
import { isAllowed } from '../scripts/third-party/licenses.mjs';

describe('a licence', () => {
  test.each([
    'MIT',
    'MIT OR Apache-2.0',
    'Apache-2.0 AND ISC',
    '(MIT OR Apache-2.0) AND Unicode-3.0',
    'Apache-2.0 WITH LLVM-exception',
    'GPL-3.0-only OR MIT',
  ])('%s is allowed', (expression) => {
    expect(isAllowed(expression)).toBe(true);
  });

  test.each([
    'GPL-3.0-only',
    'MIT AND GPL-3.0-only',
    'LGPL-2.1-or-later',
    'MPL-2.0 OR AGPL-3.0-only',
  ])('%s is not', (expression) => {
    expect(isAllowed(expression)).toBe(false);
  });

  test('that is no SPDX expression is not passed over', () => {
    expect(() => isAllowed('Some licence of mine')).toThrow();
  });
});
