/**
 * The command line as the tests start it: bundled once a run, since from the sources each of some hundred processes would translate
 * them anew before it begins. CRAYON_ENTRY=/path/to/dist/bin/crayon.js takes another one.
 */

import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { bundle } from '../../scripts/build.js';

/** In the repository: a package's models and packages are looked for above its files. */
const FOLDER = join(import.meta.dirname, '..', '..', '.crayon');

/** Of vitest: runs before all test files, and gives what runs behind them. */
export default async function setup(): Promise<(() => void) | undefined> {
  if (process.env.CRAYON_ENTRY) return undefined;
  mkdirSync(FOLDER, { recursive: true });
  const out = mkdtempSync(join(FOLDER, 'tests-'));
  await bundle(out);
  process.env.CRAYON_ENTRY = join(out, 'bin', 'crayon.js'); // of the workers too, which are started later
  return () => rmSync(out, { recursive: true, force: true });
}
