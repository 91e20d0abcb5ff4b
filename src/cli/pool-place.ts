/** The pool that a command is given: a directory, or an address, for which alone the code that fetches is loaded. */

import type { PoolPlace } from '../remote/place.js';
import { isPoolUrl } from '../remote/url.js';
import type { Environment } from '../serve/keys.js';
import type { PoolFlags } from './options.js';

/** @throws CrayonError as poolPlace of src/remote, `config-invalid` for a key that is not there */
export async function placeOf(pool: string, flags: PoolFlags, env: Environment): Promise<PoolPlace> {
  if (!isPoolUrl(pool)) return { dir: pool, remote: null, members: async () => {} };
  const { poolPlace } = await import('../remote/place.js');
  const { fromEnvironment } = await import('../serve/keys.js');
  const { poolKeyEnv: variable, poolCache: cacheBytes, cacheDir } = flags;
  const key = variable === undefined ? null : fromEnvironment(variable, env, '--pool-key-env');
  return await poolPlace(pool, { key, cacheBytes, cacheDir });
}
