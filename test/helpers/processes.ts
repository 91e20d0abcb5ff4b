/** What child processes of tests are started with. */

import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const ROOT = join(fileURLToPath(import.meta.url), '..', '..', '..');

/** For `--import`: makes Node run TypeScript. */
export const TSX = pathToFileURL(join(ROOT, 'node_modules', 'tsx', 'dist', 'loader.mjs')).href;

const withoutKoffi = `
  import Module from 'node:module';
  const load = Module._load;
  Module._load = function (name, ...rest) {
    if (name === 'koffi') throw new Error('not installed');
    return load.call(this, name, ...rest);
  };`;

/** For `--import`: a system without an exchange of names. */
export const NO_KOFFI = `data:text/javascript,${encodeURIComponent(withoutKoffi)}`;

const NAMESPACE = ['unshare', '--pid', '--fork', '--kill-child'];

/**
 * Commands that start a program with numbers of its own, as a container does: with a /proc of its own, and with that of the system,
 * which shows other numbers. Null where that is not allowed.
 */
export const inNewNamespace: string[][] | null =
  process.platform === 'linux' && spawnSync('unshare', ['--pid', '--fork', '--mount-proc', 'true']).status === 0
    ? [[...NAMESPACE, '--mount-proc'], NAMESPACE]
    : null;
