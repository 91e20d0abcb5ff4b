/** Compiled libraries: looked for before they are loaded, as a failed load can leave half of one registered, and loaded in silence. */

import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { entriesOf, exists } from './io.js';

/** Whether a tfjs-node package directory holds its compiled binding (`lib/napi-v*\/tfjs_binding.node`). */
export function hasTfjsBinding(packageDir: string): boolean {
  const lib = join(packageDir, 'lib');
  if (!exists(lib)) return false;
  return entriesOf(lib).some((folder) => exists(join(lib, folder, 'tfjs_binding.node')));
}

const LINUX_LIBRARY_DIRS = ['/lib', '/usr/lib', '/usr/local/lib', '/lib64', '/usr/lib64'];

/** Whether a shared library such as `libvulkan.so.1` lies where Linux's loader looks. */
export function hasLinuxLibrary(name: string): boolean {
  const multiarch = { x64: 'x86_64-linux-gnu', arm64: 'aarch64-linux-gnu' }[process.arch as string];
  const extra = (process.env.LD_LIBRARY_PATH ?? '').split(':').filter((dir) => dir !== '');
  const dirs = LINUX_LIBRARY_DIRS.flatMap((dir) => (multiarch === undefined ? [dir] : [dir, join(dir, multiarch)]));
  return [...extra, ...dirs].some((dir) => exists(join(dir, name)));
}

/**
 * Runs `load` with file descriptor 2 on /dev/null, where stderr is a terminal of a Unix system; elsewhere just runs it, so
 * that logs stay complete. TensorFlow greets with two lines that no setting silences.
 */
export function withQuietStderr<T>(load: () => T): T {
  if (!process.stderr.isTTY || process.platform !== 'linux') return load();
  const saved = openSync('/proc/self/fd/2', 'w'); // the same terminal, by a descriptor of its own
  closeSync(2);
  openSync('/dev/null', 'w'); // takes the lowest free descriptor, which is 2
  try {
    return load();
  } finally {
    closeSync(2);
    openSync(`/proc/self/fd/${saved}`, 'w'); // 2 again
    closeSync(saved);
  }
}
