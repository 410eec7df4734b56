// Adapters by the names that users import them by. That of NATS knows the client by its shape alone.
import { test as nodeTest } from 'node:test';
import type { NatsConnection } from 'nats';
import { WebSocketPlugin, type WSClusterAdapter, type WSClusterOptions } from 'nextrush-websocket';
import { clusterContract, startContractNode } from 'nextrush-websocket/cluster-contract';
import { type NatsConnectionLike, natsAdapter } from 'nextrush-websocket/cluster-nats';
import { relayClusterWorkers, workersAdapter } from 'nextrush-websocket/cluster-workers';
import { test as vitestTest } from 'vitest';
import type { Same } from '../fixtures/same.js';

declare const connection: NatsConnection;

const like: NatsConnectionLike = connection;
const adapter: WSClusterAdapter = natsAdapter(connection, { prefix: 'a' });
new WebSocketPlugin({ cluster: adapter });
new WebSocketPlugin({ cluster: workersAdapter() });
new WebSocketPlugin({ cluster: { url: ['redis://a', 'redis://b'], subscribe: 'rooms' } });

// @ts-expect-error there is no such option
natsAdapter(connection, { prefixes: 'a' });
// @ts-expect-error a URL is no connection
natsAdapter('nats://localhost');
// @ts-expect-error it is a number of bytes
relayClusterWorkers({ maxBufferedBytes: '1' });
// @ts-expect-error a URL is needed
const incomplete: WSClusterOptions = { prefix: 'a' };

const relay = relayClusterWorkers({ maxBufferedBytes: 1 });
const dropped: Same<ReturnType<typeof relay.getStats>['dropped'], number> = true;

clusterContract({ test: nodeTest, cluster: ({ prefix }) => workersAdapter({ prefix }) });
clusterContract({
  test: vitestTest,
  start: async ({ prefix }) => startContractNode({ cluster: { url: 'redis://a', prefix } }),
  interrupt: async (meanwhile) => meanwhile(),
});

export { dropped, incomplete, like };
