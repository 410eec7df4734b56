/**
 * Clients, in a process of their own: `pairs` or `crowd`. Started by `run.mjs` with the settings as
 * JSON; answers `progress` with a line, and `finish` with the figures.
 */
import process from 'node:process';
import { startAttacks } from './attacks.mjs';
import { startChurn } from './churn.mjs';
import { startPairs } from './pairs.mjs';

const [, , role, json] = process.argv;
const settings = JSON.parse(json);

const running =
  role === 'pairs'
    ? { pairs: await startPairs(settings) }
    : { churn: startChurn(settings), attacks: startAttacks(settings) };

/** Ends everything and gathers the figures by name. */
async function finish() {
  const entries = Object.entries(running).map(async ([name, it]) => [name, await it.finish()]);
  return Object.fromEntries(await Promise.all(entries));
}

process.on('message', async (message) => {
  if (message === 'progress') {
    const lines = Object.values(running).map((it) => it.progress());
    process.send({ progress: lines.join(', ') });
  }
  if (message === 'finish') {
    process.send({ figures: await finish() });
    process.disconnect();
  }
});
// Whoever started this is gone.
process.on('disconnect', () => process.exit());
process.send({ ready: true });
