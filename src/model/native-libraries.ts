/** Looks for compiled libraries before they are loaded: a failed load of one can leave half of it registered. */

import { join } from 'node:path';
import { entriesOf, exists } from '../files/paths.js';

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
