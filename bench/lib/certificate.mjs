/** The certificate of the scenarios with TLS: self-signed, made when it is first asked for. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { inBench, loadBinary } from './paths.mjs';

/**
 * @typedef {object} Certificate
 * @property {string} cert PEM
 * @property {string} key PEM
 * @property {string} file that has `cert`, for clients
 * @property {string} keyFile that has `key`, for servers that read it themselves
 */

/** @type {Certificate | undefined} */
let made;

/** @returns {Certificate} the same one throughout a run */
export function certificate() {
  if (made) return made;
  const { cert, key } = JSON.parse(execFileSync(loadBinary, ['certificate'], { encoding: 'utf8' }));
  const file = inBench('results/certificate.pem');
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, cert);
  const keyFile = inBench('results/key.pem');
  writeFileSync(keyFile, key);
  made = { cert, key, file, keyFile };
  return made;
}
