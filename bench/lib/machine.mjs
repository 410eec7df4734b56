/** What Linux tells about the machine and its processes, in /proc. Elsewhere all of it is unknown. */
import { readdirSync, readFileSync } from 'node:fs';
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
 * How busy others keep the machine while the bench does nothing: 1 is one core. The kernel's own
 * threads are not others. `undefined` without /proc.
 * @param {number[]} own servers of ours, which may still be at work on their start
 */
export async function foreignLoad(own) {
  const before = foreignTicks(own);
  if (before === undefined) return undefined;
  const start = performance.now();
  await sleep(WATCH);
  // A tick is 10 ms on every Linux that Node runs on (USER_HZ).
  const used = ((foreignTicks(own) ?? before) - before) * 10;
  return Math.max(0, used / (performance.now() - start));
}

/** @param {number[]} own */
function foreignTicks(own) {
  try {
    const ticks = own.map((pid) => processStat(String(pid)).ticks);
    return busyTicks() - kernelThreadTicks() - ticks.reduce((sum, one) => sum + one, 0);
  } catch {
    return undefined;
  }
}

/** Ticks that all cores together were busy since the start: user, nice, system, irq, softirq, steal. */
function busyTicks() {
  const [line] = readFileSync('/proc/stat', 'utf8').split('\n', 1);
  const [user, nice, system, , , irq, softirq, steal] = line.split(/\s+/).slice(1).map(Number);
  return user + nice + system + irq + softirq + steal;
}

/** Ticks that the kernel's own threads were busy since the start. */
function kernelThreadTicks() {
  let ticks = 0;
  for (const name of readdirSync('/proc')) {
    if (!/^\d/.test(name)) continue;
    try {
      const stat = processStat(name);
      if (stat.kernelThread) ticks += stat.ticks;
    } catch {
      // It has ended since.
    }
  }
  return ticks;
}

/** The bit of the field `flags` that every kernel thread has (PF_KTHREAD). */
const KERNEL_THREAD = 0x0020_0000;

/**
 * What /proc/PID/stat says (proc(5)).
 * @param {string} pid
 */
function processStat(pid) {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // The second field is the command in parentheses and may itself contain spaces. The first one
  // behind it is field 3.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const [flags, user, system] = [9, 14, 15].map((field) => Number(fields[field - 3]));
  return { kernelThread: (flags & KERNEL_THREAD) !== 0, ticks: user + system };
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
