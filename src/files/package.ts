/** The package itself: its version, and where it lies with the models and the suite that it ships. */

import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { CrayonError } from '../core/errors.js';

/** The version in package.json; a test keeps the two equal. */
export const CRAYON_VERSION = '0.1.0';

/**
 * A directory or file that the package ships, such as `models/crayon-edge`.
 *
 * @throws CrayonError `file-not-found` where an installation lacks it
 */
export function shippedPath(...parts: string[]): string {
  let root = dirname(fileURLToPath(import.meta.url));
  // src/files in a clone, dist/src/files when built: the package's own package.json is the nearest one above.
  while (!existsSync(join(root, 'package.json')) && dirname(root) !== root) root = dirname(root);
  const path = join(root, ...parts);
  if (existsSync(path)) return path;
  throw new CrayonError('file-not-found', `${parts.join('/')} is not part of this installation`, {
    hint: 'Install the package again, or work from a clone of the repository.',
  });
}
