/** What kind of thing a path holds. */

import { join } from 'node:path';
import { CrayonError } from '../core/errors.js';
import { exists, isFile } from '../files/io.js';
import { isGguf } from '../gguf/read.js';
import { ADAPTER_CONFIG } from '../peft/config.js';
import { POOL_MANIFEST } from '../pool/pool.js';

export type PathKind = 'pool' | 'adapter' | 'model' | 'safetensors' | 'gguf';

/** @throws CrayonError `file-not-found`, or `path-not-recognised` with what was looked for */
export function recognisePath(path: string): PathKind {
  if (!exists(path)) throw new CrayonError('file-not-found', `${path}: no such file or directory`);
  if (isFile(path)) {
    if (path.endsWith('.safetensors')) return 'safetensors';
    if (path.endsWith('.gguf') || isGguf(path)) return 'gguf';
  } else {
    if (exists(join(path, POOL_MANIFEST))) return 'pool';
    if (exists(join(path, ADAPTER_CONFIG))) return 'adapter';
    if (exists(join(path, 'config.json'))) return 'model';
  }
  throw new CrayonError(
    'path-not-recognised',
    `${path}: neither a model, an adapter, a pool, a safetensors nor a GGUF file`,
    {
      hint: `A pool has ${POOL_MANIFEST}, an adapter ${ADAPTER_CONFIG}, a model config.json; a file ends in .safetensors or .gguf.`,
    },
  );
}
