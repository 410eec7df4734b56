/** Starts the application as the environment says, and ends it gracefully. */

import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from './server.js';

const {
  ADMINS,
  CERT,
  HOST,
  KEY,
  ORIGIN,
  PORT = '3000',
  SECRET,
  TRUST_PROXY,
  WAVE_MS,
} = process.env;

const { app, wsPlugin } = createServer({
  // Without one of your own, sessions end with the process.
  secret: SECRET ?? randomBytes(32),
  admins: ADMINS?.split(','),
  allowOrigins: ORIGIN?.split(','),
  trustProxy: TRUST_PROXY?.split(','),
  maxConnectionsPerIp: 50,
  messageRate: { perSecond: 20, burst: 50, policy: 'close' },
  tls: CERT && KEY ? { cert: readFileSync(CERT), key: readFileSync(KEY) } : undefined,
});

app.listen(Number(PORT), HOST, () => console.log(`listening on ${PORT}`));

async function end(): Promise<void> {
  // Readiness says no from here on. Clients come back elsewhere, and not all at the same moment.
  await wsPlugin.cleanup({ overMs: Number(WAVE_MS ?? 5000), code: 1012, reason: 'restarting' });
  await app.shutdown();
  process.exit();
}

process.once('SIGTERM', end);
process.once('SIGINT', end);
