'use strict';

const { existsSync } = require('node:fs');
const { dirname, join } = require('node:path');

const { inspect, libcOf } = require('./binary-file.js');

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

/** The oldest glibc that published binaries run on. */
const OLDEST_GLIBC = '2.17';

const SYSTEMS = { darwin: 'macOS', linux: 'Linux', win32: 'Windows' };

/**
 * The message of the error where no binary could be loaded. It ends with one advice, by what has gone
 * wrong.
 *
 * @param failure
 * @param {string} failure.name of the package
 * @param {string} failure.version of the package
 * @param {string | undefined} failure.root the folder of the package, `undefined` in a bundle
 * @param failure.target `name` of the binary that is needed, and `libc` of the process
 * @param {string | undefined} failure.given `NAPI_RS_NATIVE_LIBRARY_PATH`
 * @param {Error[]} failure.attempts how each attempt has failed
 * @param {string[]} failure.found paths of binaries that are there
 * @param {(target: string) => boolean} failure.isInstalled whether there is a binary for another target
 */
function explain(failure) {
  const { name, version, target, attempts } = failure;
  const { platform, arch, versions } = process;
  const expected = isPublished(failure)
    ? `the package ${name}-${target.name}@${version}`
    : `nothing: no binary is published for ${target.name}, only for ${PREBUILT.join(', ')}`;
  return [
    `${name} ${version}: no native binary could be loaded.`,
    '',
    `Platform: ${platform} ${arch}${target.libc ? `, ${target.libc}` : ''}, Node ${versions.node}`,
    `Expected: ${expected}`,
    'Tried:',
    ...attempts.map(({ message }) => `  - ${message}`),
    '',
    ...advice(failure),
  ].join('\n');
}

const isPublished = ({ target }) => PREBUILT.includes(target.name);

function advice(failure) {
  const { attempts, given, found } = failure;
  if (attempts.some(({ code }) => code === 'ERR_DLOPEN_DISABLED')) return addonsDisabled();
  if (found.length > 0) return cannotBeLoaded(failure, found[0]);
  if (given) {
    return [
      'The environment variable NAPI_RS_NATIVE_LIBRARY_PATH is set, so nothing else is tried: have it',
      `name the file of the binary, or remove it. It is "${given}".`,
    ];
  }
  return notFound(failure);
}

function addonsDisabled() {
  // Where there is a permission model, it is what forbids addons.
  if (process.permission) {
    return [
      'Under the permission model Node loads no addons: start it with --allow-addons as well. Such an',
      'addon is native code, which the permission model does not restrict.',
    ];
  }
  return [
    'Node was told to load no addons, by --no-addons on the command line, in NODE_OPTIONS, or in the',
    'execArgv of a worker. This package is one: remove that.',
  ];
}

/** There is a file, and the system does not take it. */
function cannotBeLoaded(failure, path) {
  const { attempts, target } = failure;
  const messages = attempts.map(({ message }) => message).join('\n');
  const file = inspect(path);
  if (file?.isCut || (file && file.platform === undefined)) {
    return [`${path} is damaged: it is no whole binary.`, ...again(failure)];
  }
  if (file && (file.platform !== process.platform || (file.arch && file.arch !== process.arch))) {
    const made = `${SYSTEMS[file.platform]} on ${file.arch}`;
    const here = `${SYSTEMS[process.platform] ?? process.platform} on ${process.arch}`;
    return [`${path} is made for ${made}, and this is ${here}.`, ...again(failure)];
  }
  const newer = /version [`']?(GLIBC_[\d.]+)'? not found/.exec(messages)?.[1];
  if (newer) {
    return [
      `The binary needs a newer C library than there is: it asks for ${newer}. The published ones run on`,
      `glibc ${OLDEST_GLIBC}, so this one was built elsewhere. Build it on the oldest system that it has to run`,
      'on, or by "npm run build:portable".',
    ];
  }
  if (target.libc && file) {
    const own = target.libc === 'musl' ? 'musl' : 'gnu';
    const libc = libcOf(path);
    if (libc && libc !== own) {
      const called = libc === 'gnu' ? 'glibc' : 'musl';
      return [`${path} is made for ${called}, and this is ${target.libc}.`, ...again(failure)];
    }
  }
  if (/failed to map segment|Operation not permitted|Permission denied|EACCES/.test(messages)) {
    return [
      `The system lets nobody run code out of ${dirname(path)}: the file system is mounted with`,
      '"noexec", or a security policy (SELinux, AppArmor) forbids it. Install where it is allowed.',
    ];
  }
  if (process.platform === 'win32' && /specified module could not be found/.test(messages)) {
    return [
      `${path} is there, but not what it needs: install the Microsoft Visual C++ Redistributable for`,
      `${process.arch}.`,
    ];
  }
  return [`${path} is there, and the system does not take it.`, ...again(failure)];
}

/** How to get the file that fits. */
function again(failure) {
  const { root, given } = failure;
  if (given)
    return ['NAPI_RS_NATIVE_LIBRARY_PATH names it: have that name another file, or remove it.'];
  if (isClone(root)) return ['Build it again: npm run build'];
  if (root === undefined) return ['Put the right one in its place.'];
  return [
    'Install again on this system: remove node_modules, and run "npm ci". Do not copy node_modules from',
    'another system; list it in .dockerignore.',
  ];
}

/** There is no file. */
function notFound(failure) {
  const { name, root, target, isInstalled } = failure;
  if (isClone(root)) {
    return ['This is a clone: build the binary with "npm run setup" (needs cargo, see README.md).'];
  }
  const build = [
    `To build it: run "npm run setup" in a clone of ${name} (needs cargo, see its README.md)`,
    'and install that folder: npm install <path of the clone>',
  ];
  if (!isPublished(failure)) return build;
  if (root === undefined) {
    return [
      `This is a bundle, and the binary is no part of it. Mark ${name} as external and install it`,
      `where the bundle runs, or put the file ${name}.${target.name}.node`,
      'beside the bundle. See docs/guide/bundlers.md.',
    ];
  }
  const others = PREBUILT.filter((other) => other !== target.name && isInstalled(other));
  if (others.length > 0) {
    return [
      `There is the one for ${others.join(', ')}: node_modules was installed for another system, or`,
      'copied from one. Remove it and install again on this system, and list it in .dockerignore.',
    ];
  }
  return [
    'The package is missing: it is an optional dependency, and npm leaves those out with',
    '--omit=optional, or where package-lock.json was written on another platform',
    '(https://github.com/npm/cli/issues/4828). Remove node_modules and package-lock.json, then run',
    '"npm install --include=optional".',
    '',
    ...build,
  ];
}

/** Whether the package is a clone, and not installed. */
function isClone(root) {
  return root !== undefined && existsSync(join(root, 'Cargo.toml'));
}

module.exports = { explain };
