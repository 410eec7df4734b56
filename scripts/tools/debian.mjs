/** Packages of Debian, unpacked into a folder instead of installed: no root, and nothing else changes. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { install, Lacking, TOOLS } from './lacking.mjs';

/**
 * The folder that the packages are unpacked in.
 *
 * @param {string} name Of the folder.
 * @param {string[]} packages
 * @param {{ suite?: string, cpu?: string, whole?: boolean }} [options] `suite`: the release of Debian
 *   that they are of; by itself those that this machine has. `cpu`: the architecture of their programs,
 *   if not this machine's. `whole`: with all that they depend on, down to the C library.
 */
export function unpacked(name, packages, { suite, cpu, whole = false } = {}) {
  const folder = join(TOOLS, name);
  if (existsSync(folder)) return folder;
  if (!hasApt()) throw new Lacking(`${name} could not be installed: no apt-get here`);
  const stage = `${folder}.new`;
  rmSync(stage, { recursive: true, force: true });
  mkdirSync(join(stage, 'archives'), { recursive: true });
  const options = suite ? listsOf(suite, cpu) : [];
  const archives = join(stage, 'archives');
  try {
    download(packages, options, archives);
  } catch {
    // The lists of a machine that is new, or of one that is old.
    install(name, 'apt-get', [...options, 'update', '-qq']);
    download(packages, options, archives);
  }
  for (const archive of readdirSync(archives).filter((file) => file.endsWith('.deb'))) {
    install(name, 'dpkg-deb', ['-x', join(archives, archive), stage]);
  }
  rmSync(archives, { recursive: true });
  renameSync(stage, folder);
  return folder;

  function download(names, before, cwd) {
    const verb = whole ? dependenciesToo(cwd) : ['download'];
    install(name, 'apt-get', [...before, ...verb, '-qq', ...names], { cwd });
  }
}

/** As onto a machine that has nothing yet. */
function dependenciesToo(archives) {
  mkdirSync(join(archives, 'partial'), { recursive: true });
  const options = ['Dir::State::status=/dev/null', `Dir::Cache::archives=${archives}`];
  return [
    ...options.flatMap((option) => ['-o', option]),
    ...['install', '--download-only', '--yes', '--no-install-recommends'],
  ];
}

function hasApt() {
  try {
    execFileSync('apt-get', ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/** Options that have apt see another release, from where this machine has its own, beside its own lists. */
function listsOf(suite, cpu = process.arch) {
  const architecture = cpu === 'x64' ? 'amd64' : cpu;
  const folder = join(TOOLS, `apt-${suite}-${architecture}`);
  mkdirSync(join(folder, 'lists', 'partial'), { recursive: true });
  mkdirSync(join(folder, 'cache', 'archives', 'partial'), { recursive: true });
  const sources = join(folder, 'sources.list');
  const format = '$(REPO_URI) $(COMPONENT) $(ORIGIN)';
  const target = install(suite, 'apt-get', [
    'indextargets',
    '--format',
    format,
    'Created-By: Packages',
  ])
    .split('\n')
    .find((line) => /\/debian\/? main Debian$/.test(line));
  if (!target) throw new Lacking(`${suite} could not be found: apt-get has no Debian here`);
  const keys = '/usr/share/keyrings/debian-archive-keyring.gpg';
  writeFileSync(sources, `deb [signed-by=${keys}] ${target.split(' ')[0]} ${suite} main\n`);
  const options = {
    'Dir::Etc::SourceList': sources,
    'Dir::Etc::SourceParts': '-',
    'Dir::State::lists': join(folder, 'lists'),
    'Dir::Cache': join(folder, 'cache'),
    'APT::Architecture': architecture,
    // Another user may not see this folder.
    'APT::Sandbox::User': 'root',
  };
  return Object.entries(options).flatMap(([key, value]) => ['-o', `${key}=${value}`]);
}
