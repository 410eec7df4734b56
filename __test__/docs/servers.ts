/** Tries the configurations of other programs: nginx, systemd and Prometheus. */

import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { onTestFinished } from 'vitest';
import { makeCertificate } from '../support/certificate.js';
import { accepts } from './project.js';

/** Whether a program is on the PATH. */
export function has(program: string): boolean {
  return spawnSync('which', [program]).status === 0;
}

function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'docs-server-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/**
 * Starts nginx with a file for `conf.d`, its paths and ports replaced by ours. Stopped after the
 * test.
 *
 * @throws where nginx finds anything wrong with the file, warnings included
 */
export async function startNginx(site: string, ports: { listen: number; upstreams: number[] }) {
  const folder = temporaryFolder();
  const [cert, key] = [join(folder, 'cert.pem'), join(folder, 'key.pem')];
  const certificate = makeCertificate();
  writeFileSync(cert, certificate.cert);
  writeFileSync(key, certificate.key);
  const ours = site
    .replace('listen 443 ssl', `listen 127.0.0.1:${ports.listen} ssl`)
    .replace(/127\.0\.0\.1:300(\d)/g, (_, index) => `127.0.0.1:${ports.upstreams[Number(index)]}`)
    .replace(/ssl_certificate .*;/, `ssl_certificate ${cert};`)
    .replace(/ssl_certificate_key .*;/, `ssl_certificate_key ${key};`);
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (kind) => `${kind}_temp_path ${join(folder, kind)};`,
  );
  const file = join(folder, 'nginx.conf');
  writeFileSync(
    file,
    `daemon off; pid ${join(folder, 'pid')}; error_log stderr warn;
    events {} http { access_log off; ${temporary.join(' ')}\n${ours}\n}`,
  );
  const command = ['-c', file, '-p', folder, '-e', 'stderr'];
  const { status, stderr } = spawnSync('nginx', ['-t', ...command], { encoding: 'utf8' });
  if (status !== 0 || /\[(warn|emerg)\]/.test(stderr)) throw new Error(stderr);

  const nginx = spawn('nginx', command, { stdio: 'ignore' });
  while (!(await accepts(ports.listen))) await wait(20);
  onTestFinished(async () => {
    nginx.kill('SIGTERM');
    await once(nginx, 'close');
  });
}

/** What systemd finds wrong with a unit. */
export function problemsOfUnit(unit: string): string {
  const file = join(temporaryFolder(), 'docs.service');
  // Node need not be there, but something has to.
  writeFileSync(file, unit.replace('/usr/bin/node', process.execPath));
  return spawnSync('systemd-analyze', ['verify', file], { encoding: 'utf8' }).stderr;
}

/** What Prometheus finds wrong with its configuration, or with rules for alarms. */
export function problemsForPrometheus(kind: 'config' | 'rules', yaml: string): string {
  const file = join(temporaryFolder(), 'prometheus.yml');
  writeFileSync(file, yaml);
  const { status, stdout, stderr } = spawnSync('promtool', ['check', kind, file], {
    encoding: 'utf8',
  });
  return status === 0 ? '' : `${stdout}${stderr}`;
}
