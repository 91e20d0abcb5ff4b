/**
 * Where the files of a bench configuration are. Relative paths start at the working directory, like those on a command line;
 * what is not there is looked for in the package itself, so that the shipped models and suite are found from anywhere.
 */

import { isAbsolute } from 'node:path';
import { CrayonError } from '../core/errors.js';
import { exists } from '../files/io.js';
import { shippedPath } from '../files/package.js';

/**
 * A path of the configuration as it is on this machine.
 *
 * @throws CrayonError `file-not-found`
 */
export function findBenchPath(path: string): string {
  if (exists(path)) return path;
  try {
    if (!isAbsolute(path)) return shippedPath(path);
  } catch {}
  throw new CrayonError('file-not-found', `${path}: no such file or directory`, {
    hint: 'Paths in a bench configuration start at the working directory.',
  });
}
