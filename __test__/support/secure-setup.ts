/** Gives this process, and those that it starts, a certificate for the plugins in them. */
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { makeCertificate } from './certificate.js';

process.env.TEST_CERTIFICATE = JSON.stringify(makeCertificate());

const preload = fileURLToPath(new URL('secure.cjs', import.meta.url));
createRequire(import.meta.url)(preload);
process.env.NODE_OPTIONS = `${process.env.NODE_OPTIONS ?? ''} --require "${preload}"`;
