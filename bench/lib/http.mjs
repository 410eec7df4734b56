/** Plain requests to a server under load, by way of TLS where it speaks that. */
import { readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { json } from 'node:stream/consumers';

/**
 * @param {import('./server.mjs').Server} server
 * @param {string} path
 * @returns {Promise<any>} the JSON that it answers
 */
export function getJson({ url, ca }, path) {
  // A connection of its own each time: nothing of this stays in the server's memory.
  const options = { agent: false, ca: ca && readFileSync(ca) };
  return new Promise((resolve, reject) => {
    (ca ? https : http)
      .get(url.replace('ws', 'http') + path, options, (response) => {
        if (response.statusCode === 200) json(response).then(resolve, reject);
        else reject(new Error(`GET ${path} was answered with ${response.statusCode}`));
      })
      .on('error', reject);
  });
}
