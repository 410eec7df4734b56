/** Starts the application as the environment says, and ends it gracefully. */

import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from './server.js';

const { ADMIN_PASSWORD, CERT, HOST, KEY, ORIGIN, PORT = '3000' } = process.env;
const { SECRET, TRUST_PROXY, WAVE_MS = '5000' } = process.env;

const { app, wsPlugin } = createServer({
  // Without one of your own, sessions end with the process.
  secret: SECRET ?? randomBytes(32),
  adminPassword: ADMIN_PASSWORD,
  allowOrigins: ORIGIN?.split(','),
  trustProxy: TRUST_PROXY?.split(','),
  maxConnectionsPerIp: 50,
  messageRate: { perSecond: 20, burst: 50, policy: 'close' },
  tls: CERT && KEY ? { cert: readFileSync(CERT), key: readFileSync(KEY) } : undefined,
});

app.listen(Number(PORT), HOST, () => console.log(`listening on port ${PORT}`));

async function end(): Promise<void> {
  // `/health` says no from here on. Clients come back elsewhere, and not all in the same moment.
  await wsPlugin.cleanup({ overMs: Number(WAVE_MS), code: 1012, reason: 'service restart' });
  await app.shutdown();
  await app.eventSystem.shutdown();
}

process.once('SIGTERM', end);
process.once('SIGINT', end);
