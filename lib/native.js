'use strict';

const { existsSync } = require('node:fs');
const { join, sep } = require('node:path');

const { name, version } = require('../package.json');

const root = join(__dirname, '..');

/** Platforms that a prebuilt binary is published for, each as a package of its own. */
const PREBUILT = [
  'darwin-arm64',
  'darwin-x64',
  'linux-arm64-gnu',
  'linux-arm64-musl',
  'linux-x64-gnu',
  'linux-x64-musl',
  'win32-x64-msvc',
];

/** The native half. The generated loader looks for it; where there is none, this says what to do. */
function load() {
  try {
    return require('../js-binding.js');
  } catch (error) {
    const binding = bindingOfProcess();
    if (binding) return binding;
    // Without it as the cause: all it has to tell is in the message, and Node would print its
    // chain of causes on some sixty lines below.
    throw new Error(explain(error));
  }
}

/**
 * The binary for the C library that this process runs on. The generated loader goes by the `ldd` of the
 * system, which may be of the other one where both are installed.
 */
function bindingOfProcess() {
  if (process.platform !== 'linux') return undefined;
  const target = `linux-${process.arch}-${libcOfProcess().abi}`;
  for (const path of [`../nextrush-websocket.${target}.node`, `${name}-${target}`]) {
    try {
      return require(path);
    } catch {
      // The loader's own attempts are what is told of.
    }
  }
  return undefined;
}

function explain(error) {
  const { platform, arch } = process;
  const libc = platform === 'linux' ? libcOfProcess() : undefined;
  const abi = libc?.abi ?? (platform === 'win32' ? 'msvc' : undefined);
  const target = [platform, arch, abi].filter(Boolean).join('-');
  const expected = PREBUILT.includes(target)
    ? `the package ${name}-${target}@${version}`
    : `nothing: no binary is published for ${target}, only for ${PREBUILT.join(', ')}`;
  return [
    `${name} ${version}: no native binary could be loaded.`,
    '',
    `Platform: ${platform} ${arch}${libc ? `, ${libc.name}` : ''}, Node ${process.versions.node}`,
    `Expected: ${expected}`,
    'Tried:',
    ...attempts(error).map((attempt) => `  - ${attempt}`),
    '',
    ...(existsSync(join(root, 'Cargo.toml')) ? IN_A_CLONE : INSTALLED),
  ].join('\n');
}

/** The C library that this process runs on: the name of its ABI in a target, and its own. */
function libcOfProcess() {
  // Otherwise a report looks up the host names of all open sockets.
  if (process.report) process.report.excludeNetwork = true;
  const glibc = process.report?.getReport?.().header.glibcVersionRuntime;
  return glibc ? { abi: 'gnu', name: `glibc ${glibc}` } : { abi: 'musl', name: 'musl' };
}

/** What the generated loader tried and how each attempt ended, in its order. */
function attempts(error) {
  const messages = [];
  for (let cause = error.cause; cause; cause = cause.cause) messages.unshift(cause.message);
  if (messages.length === 0) messages.push(error.message);
  return (
    messages
      .map((message) => message.split('\n')[0].replace("'./", `'${root}${sep}`))
      // The loader also looks for a WebAssembly build, and there is none.
      .filter((message) => !/wasm32|\.wasi\./.test(message))
  );
}

const IN_A_CLONE = [
  'This is a clone: build the binary with "npm run setup" (needs cargo, see README.md).',
];

const INSTALLED = [
  'Where the package is missing: it is an optional dependency, and npm leaves those out with',
  '--omit=optional, or where package-lock.json was written on another platform',
  '(https://github.com/npm/cli/issues/4828). Remove node_modules and package-lock.json, then run',
  '"npm install --include=optional".',
  '',
  `To build it: run "npm run setup" in a clone of ${name} (needs cargo, see its README.md)`,
  'and install that folder: npm install <path of the clone>',
];

module.exports = load();
