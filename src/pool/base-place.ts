/**
 * Where on this machine a pool's base model was when the pool was built. pool.json has its name and digests and no absolute path,
 * which would name its user to whoever gets the pool; the places of all models of that name are kept in the cache, by their digests.
 */

import { join, resolve } from 'node:path';
import { isCrayonError } from '../core/errors.js';
import { ensureDirectory } from '../files/atomic.js';
import { sha256 } from '../files/digest.js';
import { exists } from '../files/io.js';
import { readOptionalJson, writeJson } from '../files/json.js';
import { defaultCacheDir } from '../gguf/cache.js';
import { nameForOthers } from '../hf/base-name.js';

/** Of one name; the oldest go. */
const MOST_PLACES = 50;

const placesFile = (name: string) => join(defaultCacheDir(), 'bases', `${sha256(name).slice(0, 16)}.json`);

/** Digest and path, the last one last; none where nothing is kept or readable. */
function placesOf(name: string): Array<[digest: string, path: string]> {
  try {
    const entries = Object.entries(readOptionalJson(placesFile(name)) ?? {});
    return entries.filter((entry): entry is [string, string] => typeof entry[1] === 'string' && exists(entry[1]));
  } catch (error) {
    if (isCrayonError(error)) return [];
    throw error;
  }
}

/** Whoever cannot keep it is asked for --model later. */
export function rememberBase(digest: string, path: string): void {
  const name = nameForOthers(path);
  const others = placesOf(name).filter(([other]) => other !== digest);
  try {
    ensureDirectory(join(placesFile(name), '..'));
    writeJson(placesFile(name), Object.fromEntries([...others.slice(1 - MOST_PLACES), [digest, resolve(path)]]));
  } catch (error) {
    if (!isCrayonError(error)) throw error;
  }
}

/**
 * The path of a pool's base model: of its digest, or else the last one of its name. What is there may be another model by now: the
 * caller compares digests.
 */
export function rememberedBase({ name, digest }: { name: string; digest: string }): string | undefined {
  const places = placesOf(name);
  return (places.find(([found]) => found === digest) ?? places.at(-1))?.[1];
}
