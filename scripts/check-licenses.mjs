/**
 * Fails where a crate has a licence that is not allowed, or where a crate in a binary comes without the
 * text of its licence. `npm run lint` runs it.
 *
 * cargo-deny and cargo-about do this and more; they take minutes to be compiled, and are one more thing
 * that a clone would have to install.
 */
import { PLATFORMS } from './platforms.mjs';
import { billOfBinary } from './third-party/bill-of-materials.mjs';
import { cratesInBinary, everyCrate } from './third-party/crates.mjs';
import { isAllowed, licenseTexts } from './third-party/licenses.mjs';

const crates = everyCrate();
const refused = [...crates.values()].filter(({ license }) => !license || !isAllowed(license));
for (const { name, version, license } of refused) {
  console.error(`${name} ${version}: the licence ${license ?? '(none named)'} is not allowed`);
}
if (refused.length > 0) process.exit(1);

for (const { triple } of PLATFORMS) {
  const inBinary = cratesInBinary(triple, crates);
  licenseTexts(inBinary.crates);
  billOfBinary({ name: 'x', version: '0.0.0', license: 'MIT' }, inBinary, '1.0.0');
}
console.log(`${crates.size} crates: all licences are allowed, and their texts are there`);
