/** What kind of thing a path holds. */

import { closeSync, existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { CrayonError } from '../../core/errors.js';
import { openRegularFile, readFully } from '../../files/io.js';
import { GGUF_MAGIC } from '../../gguf/types.js';
import { ADAPTER_CONFIG } from '../../peft/config.js';
import { POOL_MANIFEST } from '../../pool/pool.js';

export type PathKind = 'pool' | 'adapter' | 'model' | 'safetensors' | 'gguf';

/** @throws CrayonError `file-not-found`, or `path-not-recognised` with what was looked for */
export function recognisePath(path: string): PathKind {
  if (!existsSync(path)) throw new CrayonError('file-not-found', `${path}: no such file or directory`);
  if (statSync(path).isFile()) {
    if (path.endsWith('.safetensors')) return 'safetensors';
    if (path.endsWith('.gguf') || isGguf(path)) return 'gguf';
  } else {
    if (existsSync(join(path, POOL_MANIFEST))) return 'pool';
    if (existsSync(join(path, ADAPTER_CONFIG))) return 'adapter';
    if (existsSync(join(path, 'config.json'))) return 'model';
  }
  throw new CrayonError(
    'path-not-recognised',
    `${path}: neither a model, an adapter, a pool, a safetensors nor a GGUF file`,
    {
      hint: `A pool has ${POOL_MANIFEST}, an adapter ${ADAPTER_CONFIG}, a model config.json; a file ends in .safetensors or .gguf.`,
    },
  );
}

/** By its first four bytes: model stores keep GGUF files under names without an ending. */
export function isGguf(path: string): boolean {
  const { fd, sizeBytes } = openRegularFile(path);
  try {
    if (sizeBytes < 4) return false;
    const magic = new Uint8Array(4);
    readFully(fd, magic, 0, path);
    return new DataView(magic.buffer).getUint32(0, true) === GGUF_MAGIC;
  } finally {
    closeSync(fd);
  }
}
