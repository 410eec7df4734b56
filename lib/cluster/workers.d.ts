import type { WSClusterAdapter } from '../../index.js';

/** What {@link workersAdapter} can be told. */
export interface WorkersAdapterOptions {
  /**
   * Servers with different prefixes do not hear each other. 1 to 64 letters, digits, `_` and `-`, with
   * single points between them.
   *
   * @default 'nextrush-ws'
   */
  prefix?: string | undefined;
}

/**
 * Joins the servers in the workers of `node:cluster`, on one machine and without a broker: the value of
 * option `cluster` in each of them. Their primary has to call {@link relayClusterWorkers}.
 *
 * Works with both kinds of `serialization`; `'advanced'` costs less for long messages.
 *
 * @throws {Error} where this process is no worker of `node:cluster`.
 * @throws {TypeError} for an option that is none.
 *
 * @example
 * if (cluster.isPrimary) {
 *   relayClusterWorkers();
 *   for (let count = 0; count < 4; count += 1) cluster.fork();
 * } else {
 *   new WebSocketPlugin({ cluster: workersAdapter() }).attach(server);
 * }
 */
export function workersAdapter(options?: WorkersAdapterOptions): WSClusterAdapter;

/** What {@link relayClusterWorkers} can be told. */
export interface ClusterWorkersRelayOptions {
  /**
   * Most bytes that are kept for one worker that reads slowly. What does not fit is dropped, which the
   * worker tells of by `cluster:gap`; the others do not notice. At least 1; `Infinity` means no limit.
   *
   * @default 16777216
   */
  maxBufferedBytes?: number | undefined;
}

/** What passes messages on in the primary. */
export interface ClusterWorkersRelay {
  /** Passes nothing on any more: the workers are told that they are on their own. */
  close(): void;
  /** Counters and present numbers. */
  getStats(): ClusterWorkersRelayStats;
}

/** What {@link ClusterWorkersRelay.getStats} tells. */
export interface ClusterWorkersRelayStats {
  /** Workers that have been heard of. */
  workers: number;
  /** Servers in them. */
  adapters: number;
  /** Channels that somebody has subscribed to. */
  topics: number;
  /** Messages that have come. */
  relayed: number;
  /** Messages that were dropped, for each worker that was too slow for them. */
  dropped: number;
  /** Bytes that wait for workers. */
  bufferedBytes: number;
}

/**
 * Passes on what the servers in the workers of `node:cluster` tell each other. To be called in the
 * primary, once, before or after it forks.
 *
 * @throws {Error} in a worker, and where a relay runs already.
 * @throws {TypeError} for an option that is none, or of the wrong type.
 * @throws {RangeError} for a number out of its range.
 */
export function relayClusterWorkers(options?: ClusterWorkersRelayOptions): ClusterWorkersRelay;
