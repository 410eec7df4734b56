'use strict';

const { existsSync, mkdtempSync, rmSync, writeFileSync } = require('node:fs');
const { createRequire } = require('node:module');
const { tmpdir } = require('node:os');
const { dirname, isAbsolute, join, resolve, sep } = require('node:path');

const { inspect } = require('./binary-file.js');
const { explain } = require('./load-error.js');
const { version } = require('./version.js');

const NAME = 'nextrush-websocket';

/**
 * The folder of the package. There is none in a bundle, where this file is a part of another one; a
 * bundle that is an ES module has no `__dirname` either.
 */
const root =
  typeof __dirname === 'string' && existsSync(join(__dirname, 'native.js'))
    ? join(__dirname, '..')
    : undefined;

/**
 * Files beside which a binary is looked for, and from which packages are: the package itself, or else the
 * bundle and the script that was started. The latter is the executable where Node is a part of that.
 */
const anchors = root
  ? [join(root, 'index.js')]
  : [typeof __filename === 'string' ? __filename : undefined, process.argv[1]].filter(
      (path, index, all) => path && isAbsolute(path) && all.indexOf(path) === index,
    );

/** The native half. The generated loader looks for it; where there is none, this says what to do. */
function load() {
  const cut = root && binariesHere().find((path) => inspect(path)?.isCut);
  // To load it would end the process, without a word.
  if (cut) throw new Error(explained([new Error(`${cut}: the file is cut off`)]));
  let error;
  try {
    return require('../js-binding.js');
  } catch (caught) {
    error = caught;
  }
  const attempts = attemptsOf(error);
  const binding = bindingOfProcess(attempts);
  // Without them as the cause: all they have to tell is in the message, and Node would print the
  // chain of causes on some sixty lines below.
  if (binding === undefined) throw new Error(explained(attempts));
  return binding;
}

/** The targets whose binary might run here, without asking which C library there is: that takes a while. */
function likelyTargets() {
  const { platform, arch } = process;
  if (platform === 'linux') return [`linux-${arch}-gnu`, `linux-${arch}-musl`];
  return [platform === 'win32' ? `win32-${arch}-msvc` : `${platform}-${arch}`];
}

/** Paths of the binaries that are installed for this system. */
function binariesHere() {
  const { NAPI_RS_NATIVE_LIBRARY_PATH: given } = process.env;
  if (given) return isAbsolute(given) && existsSync(given) ? [given] : [];
  return likelyTargets().flatMap((target) => pathsOf(target));
}

/** Paths of the binaries that are installed for a target. */
function pathsOf(target) {
  return anchors.flatMap((anchor) =>
    requestsFor(target).flatMap((request) => {
      try {
        return createRequire(anchor).resolve(request);
      } catch {
        return [];
      }
    }),
  );
}

/** What is asked for: a file beside the anchor, and a package. */
function requestsFor(target) {
  return [`./${NAME}.${target}.node`, `${NAME}-${target}`];
}

/**
 * The binary for the C library that this process runs on: the generated loader goes by the `ldd` of the
 * system, which may be of the other one where both are installed. Also where there is a bundler's own
 * `require`, or none at all, so that the generated loader cannot find it.
 *
 * @param {Error[]} attempts what fails is added to it
 */
function bindingOfProcess(attempts) {
  const { NAPI_RS_NATIVE_LIBRARY_PATH: given } = process.env;
  const target = targetOfProcess().name;
  const requests = given ? [resolve(given)] : requestsFor(target);
  for (const anchor of anchors) {
    for (const request of requests) {
      try {
        return createRequire(anchor)(request);
      } catch (error) {
        add(attempts, error, dirname(anchor));
      }
    }
  }
  return given ? undefined : bindingOfAsset(`${NAME}.${target}.node`, attempts);
}

/** The binary that a single executable application carries as an asset. It can be loaded from a file only. */
function bindingOfAsset(asset, attempts) {
  let content;
  try {
    const sea = require('node:sea');
    if (!sea.isSea()) return undefined;
    content = sea.getRawAsset(asset);
  } catch (error) {
    // Node before 20.12 has no such module, and without the asset the other attempts tell enough.
    if (error.code === 'ERR_SINGLE_EXECUTABLE_APPLICATION_ASSET_NOT_FOUND') attempts.push(error);
    return undefined;
  }
  const folder = mkdtempSync(join(tmpdir(), `${NAME}-`));
  const path = join(folder, asset);
  try {
    writeFileSync(path, new Uint8Array(content));
    return createRequire(path)(path);
  } catch (error) {
    attempts.push(error);
    return undefined;
  } finally {
    try {
      rmSync(folder, { recursive: true, force: true });
    } catch {
      // Windows lets nobody remove what is loaded.
    }
  }
}

/** What the generated loader tried and how each attempt ended, in its order. */
function attemptsOf(error) {
  const errors = [];
  for (let cause = error.cause; cause; cause = cause.cause) errors.unshift(cause);
  if (errors.length === 0) errors.push(error);
  const attempts = [];
  for (const attempt of errors) {
    // The loader also looks for a WebAssembly build, and there is none; a single executable has no resolve.
    if (!/wasm32|\.wasi\.|require\.resolve/.test(attempt.message)) add(attempts, attempt, root);
  }
  return attempts;
}

/** Adds an attempt with a message of one line that has a whole path in it, once. */
function add(attempts, { code, message }, folder) {
  let [text] = message.split('\n');
  if (folder !== undefined) text = text.replace("'./", `'${folder}${sep}`);
  const same = attempts.find((attempt) => attempt.message === text);
  // What the generated loader collects has lost its code.
  if (same) same.code ??= code;
  else attempts.push(Object.assign(new Error(text), { code }));
}

/** The target that this process needs the binary of, and the name of its C library where that matters. */
function targetOfProcess() {
  const { platform, arch } = process;
  if (platform !== 'linux') return { name: likelyTargets()[0], libc: undefined };
  // Otherwise a report looks up the host names of all open sockets.
  if (process.report) process.report.excludeNetwork = true;
  const glibc = process.report?.getReport?.().header.glibcVersionRuntime;
  return glibc
    ? { name: `linux-${arch}-gnu`, libc: `glibc ${glibc}` }
    : { name: `linux-${arch}-musl`, libc: 'musl' };
}

function explained(attempts) {
  const { NAPI_RS_NATIVE_LIBRARY_PATH: given } = process.env;
  return explain({
    name: NAME,
    version,
    root,
    target: targetOfProcess(),
    given,
    attempts,
    found: given ? [resolve(given)].filter((path) => existsSync(path)) : binariesHere(),
    isInstalled: (target) => pathsOf(target).length > 0,
  });
}

module.exports = load();
