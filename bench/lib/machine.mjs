/** What Linux tells about the machine and its processes, in /proc. Elsewhere all of it is unknown. */
import { readFileSync } from 'node:fs';
import os from 'node:os';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';

/** Milliseconds to watch the machine before a measurement: 20 ticks of /proc/stat. */
const WATCH = 200;

/**
 * Resident memory of a process in bytes.
 * @param {number} pid
 */
export function residentBytes(pid) {
  const match = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  if (!match) throw new Error(`/proc/${pid}/status has no VmRSS`);
  return Number(match[1]) * 1024;
}

/**
 * How busy the machine is while the bench does nothing: 1 is one core. `undefined` without /proc.
 */
export async function foreignLoad() {
  const before = busyTicks();
  if (before === undefined) return undefined;
  const start = performance.now();
  await sleep(WATCH);
  // A tick is 10 ms on every Linux that Node runs on (USER_HZ).
  return (((busyTicks() ?? before) - before) * 10) / (performance.now() - start);
}

/** Ticks that all cores together were busy since the start: user, nice, system, irq, softirq, steal. */
function busyTicks() {
  try {
    const [line] = readFileSync('/proc/stat', 'utf8').split('\n', 1);
    const [user, nice, system, , , irq, softirq, steal] = line.split(/\s+/).slice(1).map(Number);
    return user + nice + system + irq + softirq + steal;
  } catch {
    return undefined;
  }
}

/**
 * What belongs beside every figure.
 * @param {import('./peers.mjs').Peer[]} peers
 */
export function describeMachine(peers) {
  return {
    cpu: os.cpus()[0]?.model.trim() ?? 'unknown',
    cores: os.cpus().length,
    memory_gib: Math.round(os.totalmem() / 2 ** 30),
    system: `${os.type()} ${os.release()} ${os.arch()}`,
    // Congestion control also paces loopback: bbr and cubic differ in large messages.
    tcp: tcpCongestionControl(),
    node: process.version,
    date: new Date().toISOString(),
    peers: Object.fromEntries(peers.map(({ name, version }) => [name, version])),
  };
}

function tcpCongestionControl() {
  try {
    return readFileSync('/proc/sys/net/ipv4/tcp_congestion_control', 'utf8').trim();
  } catch {
    return 'unknown';
  }
}
