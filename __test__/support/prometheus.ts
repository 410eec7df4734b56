/** A Prometheus that tests start for themselves, and `promtool`. */

import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { onTestFinished } from 'vitest';
import { freePort } from '../../scripts/free-port.mjs';

/** Whether a program is there; where it is not, a line says what is skipped. */
export function hasPrometheus(program: 'prometheus' | 'promtool', what: string): boolean {
  const found = spawnSync(program, ['--version']).error === undefined;
  if (!found)
    console.warn(`${what} is skipped: no ${program}. Install one (apt install prometheus).`);
  return found;
}

/**
 * OpenMetrics text as Prometheus' older text format has it, which `promtool` reads: there, names of
 * metrics have their endings where they are described as well, and neither types of their own for
 * information, nor units, nor an end are known.
 */
export function asOlderText(openMetrics: string): string {
  const endings: Record<string, string> = { counter: '_total', info: '_info' };
  const types = new Map<string, string>();
  for (const [, name = '', type = ''] of openMetrics.matchAll(/^# TYPE (\S+) (\S+)$/gm)) {
    types.set(name, type);
  }
  return openMetrics
    .replace(/^# (UNIT|EOF).*\n/gm, '')
    .replace(/^# (HELP|TYPE) (\S+)/gm, (_, what, name) => {
      return `# ${what} ${name}${endings[types.get(name) ?? ''] ?? ''}`;
    })
    .replace(/^(# TYPE \S+) info$/gm, '$1 gauge');
}

/** What `promtool` finds wrong with metrics. */
export function problemsOf(openMetrics: string): string {
  const input = asOlderText(openMetrics);
  const { status, stdout, stderr } = spawnSync('promtool', ['check', 'metrics'], {
    input,
    encoding: 'utf8',
  });
  return `${stdout}${stderr}${status === 0 ? '' : `exit code ${status}`}`;
}

export interface Sample {
  metric: Record<string, string>;
  value: [number, string];
}

export interface Prometheus {
  /** What a query finds now. Throws where it is none. */
  query(query: string): Promise<Sample[]>;
  /** The same once it finds something. */
  found(query: string): Promise<Sample[]>;
  /** The state of what is scraped. */
  target(): Promise<{ health: string; lastError: string }>;
}

/** Starts one that scrapes `/metrics` of a port four times a second. Stopped after the test. */
export async function startPrometheus(scraped: number): Promise<Prometheus> {
  const folder = mkdtempSync(join(tmpdir(), 'prometheus-'));
  const file = join(folder, 'prometheus.yml');
  writeFileSync(
    file,
    `global: { scrape_interval: 250ms }
scrape_configs: [{ job_name: chat, static_configs: [{ targets: ['127.0.0.1:${scraped}'] }] }]`,
  );
  const port = await freePort();
  const prometheus = spawn(
    'prometheus',
    [
      `--config.file=${file}`,
      `--storage.tsdb.path=${join(folder, 'data')}`,
      `--web.listen-address=127.0.0.1:${port}`,
    ],
    { stdio: 'ignore' },
  );
  onTestFinished(async () => {
    const ended = once(prometheus, 'exit');
    prometheus.kill('SIGKILL');
    await ended;
    rmSync(folder, { recursive: true, force: true });
  });

  async function ask(path: string) {
    const response = await fetch(`http://127.0.0.1:${port}/api/v1/${path}`);
    const { status, data, error } = (await response.json()) as {
      status: string;
      // biome-ignore lint/suspicious/noExplicitAny: what it is depends on the path
      data: any;
      error?: string;
    };
    if (status !== 'success') throw new Error(`${path}: ${error}`);
    return data;
  }
  const query = async (text: string): Promise<Sample[]> =>
    (await ask(`query?query=${encodeURIComponent(text)}`)).result;
  const result: Prometheus = {
    query,
    async found(text) {
      for (;;) {
        const samples = await query(text);
        if (samples.length > 0) return samples;
        await wait(50);
      }
    },
    target: async () => (await ask('targets?state=active')).activeTargets[0],
  };
  const isReady = () =>
    fetch(`http://127.0.0.1:${port}/-/ready`).then(
      ({ ok }) => ok,
      () => false,
    );
  while (!(await isReady())) await wait(20);
  return result;
}
