/**
 * A registry with nothing but the packages that were packed here, so that package managers resolve and
 * choose among them as they will among published ones. It runs in a thread of its own, as whoever starts
 * package managers waits for them.
 */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import path from 'node:path';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { gunzipSync } from 'node:zlib';

/**
 * Starts one.
 *
 * @param {{ tarball: string }[]} packages
 * @returns its `url`, and how to `stop` it
 */
export async function startRegistry(packages) {
  const worker = new Worker(new URL(import.meta.url), {
    workerData: packages.map(({ tarball }) => tarball),
  });
  const [port] = await once(worker, 'message');
  return { url: `http://127.0.0.1:${port}/`, stop: () => worker.terminate() };
}

/** What the registry says of a package: one version, and where that is. */
function documentOf(tarball, base) {
  const content = readFileSync(tarball);
  const manifest = manifestOf(gunzipSync(content));
  const { name, version } = manifest;
  const dist = {
    tarball: `${base}${name}/-/${path.basename(tarball)}`,
    integrity: `sha512-${createHash('sha512').update(content).digest('base64')}`,
    shasum: createHash('sha1').update(content).digest('hex'),
  };
  return {
    name,
    'dist-tags': { latest: version },
    versions: { [version]: { ...manifest, dist } },
    // Long enough ago for those that take nothing new.
    time: { [version]: '2020-01-01T00:00:00.000Z' },
  };
}

/** The `package.json` of an unpacked tarball: headers of 512 bytes, each with a name and an octal size. */
function manifestOf(tar) {
  for (let at = 0; at < tar.length; ) {
    const text = (from, to) => tar.toString('utf8', at + from, at + to).split('\0')[0];
    const size = Number.parseInt(text(124, 136), 8);
    if (text(0, 100) === 'package/package.json') {
      return JSON.parse(tar.toString('utf8', at + 512, at + 512 + size));
    }
    at += 512 + Math.ceil(size / 512) * 512;
  }
  throw new Error('there is no package.json');
}

function serve(tarballs) {
  const answers = new Map();
  const server = createServer(({ url }, res) => {
    const answer = answers.get(decodeURIComponent(url));
    res.writeHead(answer ? 200 : 404).end(answer);
  });
  server.listen(0, '127.0.0.1', () => {
    const { port } = server.address();
    for (const tarball of tarballs) {
      const document = documentOf(tarball, `http://127.0.0.1:${port}/`);
      answers.set(`/${document.name}`, JSON.stringify(document));
      answers.set(`/${document.name}/-/${path.basename(tarball)}`, readFileSync(tarball));
    }
    parentPort.postMessage(port);
  });
}

if (!isMainThread && parentPort) serve(workerData);
