/** What kind of thing a path holds. */

import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { CrayonError } from '../core/errors.js';
import { ADAPTER_CONFIG } from './peft-config.js';
import { POOL_MANIFEST } from './pool.js';

export type PathKind = 'pool' | 'adapter' | 'model' | 'safetensors';

/** @throws CrayonError `file-not-found`, or `path-not-recognised` with what was looked for */
export function recognisePath(path: string): PathKind {
  if (!existsSync(path)) throw new CrayonError('file-not-found', `${path}: no such file or directory`);
  if (statSync(path).isFile()) {
    if (path.endsWith('.safetensors')) return 'safetensors';
  } else {
    if (existsSync(join(path, POOL_MANIFEST))) return 'pool';
    if (existsSync(join(path, ADAPTER_CONFIG))) return 'adapter';
    if (existsSync(join(path, 'config.json'))) return 'model';
  }
  throw new CrayonError('path-not-recognised', `${path}: neither a model, an adapter, a pool nor a safetensors file`, {
    hint: `A pool has ${POOL_MANIFEST}, an adapter ${ADAPTER_CONFIG}, a model config.json; a file ends in .safetensors.`,
  });
}
