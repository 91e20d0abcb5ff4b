/**
 * Where on this machine a pool's base model was when the pool was built. pool.json has its name and digests and no absolute path,
 * which would name its user to whoever gets the pool; the place is kept in the cache, by the digest.
 */

import { join, resolve } from 'node:path';
import { isCrayonError } from '../core/errors.js';
import { ensureDirectory } from '../files/atomic.js';
import { exists } from '../files/io.js';
import { readOptionalJson, writeJson } from '../files/json.js';
import { defaultCacheDir } from '../gguf/cache.js';

const placeFile = (digest: string) => join(defaultCacheDir(), 'bases', `${digest.slice(0, 16)}.json`);

/** Whoever cannot keep it is asked for --model later. */
export function rememberBase(digest: string, path: string): void {
  const file = placeFile(digest);
  try {
    ensureDirectory(join(file, '..'));
    writeJson(file, { path: resolve(path) });
  } catch (error) {
    if (!isCrayonError(error)) throw error;
  }
}

/** What was there may be another model by now: the caller compares digests. */
export function rememberedBase(digest: string): string | undefined {
  try {
    const path = readOptionalJson(placeFile(digest))?.path;
    return typeof path === 'string' && exists(path) ? path : undefined;
  } catch (error) {
    if (isCrayonError(error)) return undefined;
    throw error;
  }
}
