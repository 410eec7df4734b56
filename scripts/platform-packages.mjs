/**
 * Writes the packages of the platforms, all but their binaries:
 *
 *     npm run packages                # npm/*: manifest and README, which are committed
 *     npm run packages -- --release   # and what goes along with a binary: licence texts, and a bill
 *                                     # of materials, which the main package gets too
 *
 * Manifests name the repository, homepage and tracker of the main package's; a release must have them.
 */
import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { binaryOf, GLIBC_FLOOR, MACOS_FLOOR, PLATFORMS } from './platforms.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));

/** Files beside the binary, its manifest, README and LICENSE. */
const THIRD_PARTY = 'THIRD-PARTY-LICENSES.txt';
const STANDARD_LIBRARY = 'RUST-LICENSES.html';
const BILL = 'sbom.cdx.json';

/** What the packages have of the main package's manifest. */
const SHARED = ['description', 'keywords', 'license', 'engines', 'repository', 'homepage', 'bugs'];

const SYSTEMS = {
  glibc: `Linux with glibc ${GLIBC_FLOOR} or newer`,
  musl: 'Linux with musl 1.2 or newer, as Alpine has it',
  darwin: 'macOS',
  win32: 'Windows',
};

const { values: options } = parseArgs({
  options: {
    release: { type: 'boolean', default: false },
    // Where the main package is, whose folder `npm` is written to.
    folder: { type: 'string', default: root },
  },
});
const folder = options.folder;
const main = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));

for (const platform of PLATFORMS) writePackage(platform);
if (options.release) await writeForRelease();

function writePackage(platform) {
  const { name, os, cpu, libc } = platform;
  const destination = folderOf(platform);
  mkdirSync(destination, { recursive: true });
  const binary = binaryOf(platform);
  const manifest = {
    name: `${main.name}-${name}`,
    version: main.version,
    ...Object.fromEntries(SHARED.filter((key) => key in main).map((key) => [key, main[key]])),
    ...{ os: [os], cpu: [cpu], ...(libc ? { libc: [libc] } : {}) },
    ...{ main: binary, files: [binary, THIRD_PARTY, STANDARD_LIBRARY, BILL] },
  };
  writeFileSync(join(destination, 'package.json'), `${JSON.stringify(manifest, null, 2)}\n`);
  writeFileSync(join(destination, 'README.md'), readme(platform, manifest));
}

function readme({ os, cpu, libc }, { name, homepage, bugs }) {
  const system = SYSTEMS[libc ?? os];
  const floor = os === 'darwin' ? ` ${MACOS_FLOOR[cpu]} or newer` : '';
  const links = [
    homepage && `Documentation and source: <${homepage}>`,
    bugs && `Faults are reported at <${bugs.url ?? bugs}>`,
  ].filter(Boolean);
  return `# ${name}

The native half of \`${main.name}\` for ${system}${floor}, on ${cpu}.

\`\`\`sh
npm install ${main.name}
\`\`\`

installs it where it fits. There is nothing here to install or to import by itself, and no script that
runs when it is installed.
${links.map((link) => `\n${link}\n`).join('')}
The licences of what is compiled into the binary are in \`${THIRD_PARTY}\` and \`${STANDARD_LIBRARY}\`, a
bill of materials (CycloneDX) is in \`${BILL}\`.
`;
}

async function writeForRelease() {
  for (const field of ['repository', 'homepage', 'bugs']) {
    if (!main[field]) fail(`package.json has no "${field}", which a release must have`);
  }
  // What they need is not there in a clone that only installs what is published.
  const { billOfBinary, billOfMain } = await import('./third-party/bill-of-materials.mjs');
  const { cratesInBinary, everyCrate } = await import('./third-party/crates.mjs');
  const { licenseTexts } = await import('./third-party/licenses.mjs');
  const rust = /^rustc (\S+)/.exec(rustc('--version'))[1];
  const notices = join(rustc('--print', 'sysroot').trim(), 'share/doc/rust/COPYRIGHT-library.html');
  if (!existsSync(notices)) fail(`the compiler came without ${notices}`);

  const crates = everyCrate();
  const manifests = [];
  for (const platform of PLATFORMS) {
    const destination = folderOf(platform);
    const manifest = JSON.parse(readFileSync(join(destination, 'package.json'), 'utf8'));
    manifests.push(manifest);
    const inBinary = cratesInBinary(platform.triple, crates);
    writeFileSync(join(destination, THIRD_PARTY), licenseTexts(inBinary.crates));
    copyFileSync(notices, join(destination, STANDARD_LIBRARY));
    writeBill(destination, billOfBinary(manifest, inBinary, rust));
    copyFileSync(join(root, 'LICENSE'), join(destination, 'LICENSE'));
    console.log(`${manifest.name}: ${inBinary.crates.length} crates`);
  }
  writeBill(folder, billOfMain(main, manifests));
}

function writeBill(destination, bill) {
  writeFileSync(join(destination, BILL), `${JSON.stringify(bill, null, 2)}\n`);
}

function folderOf({ name }) {
  return join(folder, 'npm', name);
}

function rustc(...args) {
  return execFileSync('rustc', args, { encoding: 'utf8' });
}

function fail(message) {
  console.error(message);
  process.exit(1);
}
