/** Where things are. */
import path from 'node:path';
import { fileURLToPath } from 'node:url';

/** This folder's parent, `bench/`. */
export const benchDirectory = fileURLToPath(new URL('..', import.meta.url));

/** The checkout that the bench belongs to. */
export const rootDirectory = path.join(benchDirectory, '..');

/** @param {...string} parts of a path below `bench/` */
export const inBench = (...parts) => path.join(benchDirectory, ...parts);

/** The load generator. */
export const loadBinary = inBench('load/target/release/nextrush-websocket-load');

/** The `bun` that the optional package brings. */
export const bunBinary = inBench('node_modules/.bin/bun');
