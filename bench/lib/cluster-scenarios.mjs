/** The scenarios with several servers: how each is run, and what counts in its report. */
import { relay, startCluster, startJoined } from './cluster.mjs';
import { broadcast } from './scenarios.mjs';

/** @typedef {import('./scenarios.mjs').Scenario} Scenario */

/** Seconds that a measurement takes besides: a broker and two servers start, and hear each other. */
const START = 2.5;

const joinable = (/** @type {import('./peers.mjs').Peer} */ peer) =>
  peer.joinable === true && !peer.joined;

const count = (/** @type {number} */ members) =>
  members === 1 ? '1 member' : `${members.toLocaleString('en-US')} members`;

/**
 * Broadcasts of one server to members on the other: as many as it can, or so many a second.
 * @param {object} shape
 * @param {number} shape.members
 * @param {number} shape.size
 * @param {number} [shape.perCommand]
 * @param {number} [shape.rate] commands a second; without it the next follows when everybody has all
 * @returns {Scenario}
 */
export function across({ members, size, perCommand = 1, rate = 0 }) {
  const name = `cluster-${rate > 0 ? `rate-${rate}-` : ''}${members}x${perCommand}-${size}`;
  const pace = rate > 0 ? `${rate} a second` : `${perCommand} per command`;
  const title = `to ${count(members)} on another server, ${pace}, ${size} B`;
  return {
    name,
    title,
    seconds: 2.5,
    quickSeconds: 1.2,
    duration: ({ seconds, warmup }) => START + warmup + 1.5 * seconds,
    canMeasure: joinable,
    start: startCluster,
    run: (server, timing) =>
      relay(/** @type {import('./cluster.mjs').Cluster} */ (server), {
        ...{ members, perCommand, rate, size },
        ...timing,
      }),
    results: (report) => {
      const { deliveries, broadcasts, latency_us, lost, loop_delay } = report;
      const { members: receiver, publisher, broker } = report.processes;
      const each = (/** @type {number} */ time) => time / deliveries;
      const costs = {
        cpu: each(receiver.cpu_us + publisher.cpu_us),
        javascript: each(receiver.javascript_us + publisher.javascript_us),
        details: {
          'p50 ms': latency_us.p50 / 1000,
          'p99 ms': latency_us.p99 / 1000,
          'CPU µs of the members’ server': each(receiver.cpu_us),
          'its JavaScript, µs per broadcast': receiver.javascript_us / broadcasts,
          'broker CPU µs': each(broker.cpu_us),
          'loop delay p99 ms': loop_delay?.p99_ms,
          'max ms': loop_delay?.max_ms,
          lost,
        },
      };
      const throughput = {
        id: name,
        title,
        value: report.deliveries_per_second,
        unit: 'deliveries/s',
        better: /** @type {const} */ ('more'),
        ...costs,
      };
      const latency = {
        id: `${name}-p99`,
        title: `${title}: p99`,
        value: latency_us.p99,
        unit: 'µs',
        better: /** @type {const} */ ('less'),
        // At a given rate all have the same throughput: what it takes is the figure.
        ...(rate > 0 ? costs : { details: {} }),
      };
      const cpu = {
        id: `${name}-cpu`,
        title: `${title}: CPU of a delivery`,
        value: costs.cpu,
        unit: 'µs',
        better: /** @type {const} */ ('less'),
        details: {},
      };
      return [...(rate > 0 ? [] : [throughput]), latency, cpu];
    },
  };
}

/**
 * Broadcasts to a room that has all of its members on the server that broadcasts: what they cost the
 * other one.
 * @param {object} shape
 * @param {number} shape.size
 * @returns {Scenario}
 */
export function unconcerned({ size }) {
  const name = 'cluster-unconcerned';
  const title = `to a member on the same server, ${size} B: CPU of another server`;
  return {
    name,
    title,
    seconds: 2.5,
    quickSeconds: 1.2,
    duration: ({ seconds, warmup }) => START + warmup + seconds,
    canMeasure: joinable,
    start: startCluster,
    run: (server, timing) =>
      relay(/** @type {import('./cluster.mjs').Cluster} */ (server), {
        ...{ membersAt: 'publisher', members: 1, perCommand: 20, size },
        ...timing,
      }),
    results: ({ broadcasts, lost, seconds, processes }) => [
      {
        id: name,
        title,
        // Heartbeats alone, one a second, are no ratio to anything.
        value: Math.round((processes.members.cpu_us / broadcasts) * 100) / 100,
        unit: 'µs per broadcast',
        better: 'less',
        details: {
          'JavaScript µs': processes.members.javascript_us / broadcasts,
          'broadcasts/s': broadcasts / seconds,
          lost,
        },
      },
    ],
  };
}

/**
 * What a delivery costs a server that others could hear, where nobody does.
 * @param {object} shape
 * @param {number} shape.members
 * @param {number} shape.perCommand
 * @returns {Scenario}
 */
export function local({ members, perCommand }) {
  const name = `cluster-local-${members}x${perCommand}`;
  const title = `to ${count(members)} on the same server, ${perCommand} per command: CPU of a delivery`;
  return {
    ...broadcast({ members, perCommand, size: 64 }),
    name,
    title,
    seconds: 2.5,
    quickSeconds: 1.2,
    // The package with and without.
    canMeasure: (peer) => peer.joined === true || (peer.joinable === true && !peer.adapter),
    start: startJoined,
    results: (report) => [
      {
        id: name,
        title,
        value: report.cpu.server_us / report.deliveries,
        unit: 'µs',
        better: 'less',
        details: {
          'JavaScript µs': report.cpu.javascript_us / report.deliveries,
          'deliveries/s': report.deliveries_per_second,
          lost: report.lost,
        },
      },
    ],
  };
}
