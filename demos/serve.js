/** What the demos have in common: an application that serves the files of a page. */

import { readdir, readFile } from 'node:fs/promises';
import { extname } from 'node:path';
import { createApp } from '../examples/host/index.js';

/** @type {Record<string, string>} */
const TYPES = {
  '.css': 'text/css; charset=utf-8',
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
};

/**
 * An application with a route for each file of some folders, read now: nothing else of the disk can be
 * asked for. `index.html` is `/`.
 *
 * @param {URL[]} folders each with a slash at its end
 */
export async function appWithPages(...folders) {
  const app = createApp();
  for (const folder of [new URL('./shared/', import.meta.url), ...folders]) {
    for (const name of await readdir(folder)) {
      const type = TYPES[extname(name)];
      if (type === undefined) continue;
      const content = await readFile(new URL(name, folder), 'utf8');
      app.get(name === 'index.html' ? '/' : `/${name}`, (ctx) => {
        ctx.res.set('content-type', type).send(content);
      });
    }
  }
  return app;
}
