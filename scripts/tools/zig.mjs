/** zig as the linker and the C compiler for other platforms, with cargo-zigbuild: both from PyPI. */
import { Lacking } from './lacking.mjs';
import { programsOf } from './python.mjs';

/** The folder that has `cargo-zigbuild`; installed where it is not there. */
export function zig() {
  if (process.platform === 'win32') throw new Lacking('no builds for other platforms on Windows');
  return programsOf('zig');
}
