/** The pool that the repository ships, and copies of it to be changed. */

import { cpSync } from 'node:fs';
import { join } from 'node:path';
import { temporaryDir } from './files.js';
import { ROOT } from './fixtures.js';

export const SHIPPED = join(ROOT, 'models', 'crayon-edge-pool');

export function copyOfPool(name = 'pool'): string {
  const dir = join(temporaryDir(), name);
  cpSync(SHIPPED, dir, { recursive: true });
  return dir;
}
