/** SHA-256 of files and bytes, as lower-case hexadecimal text. */

import { createHash } from 'node:crypto';
import { closeSync } from 'node:fs';
import { openRegularFile, readFully } from './io.js';

const CHUNK_BYTES = 4 * 2 ** 20;

export function sha256(data: string | Uint8Array): string {
  return createHash('sha256').update(data).digest('hex');
}

/** Digest of a whole file, read in chunks. */
export function sha256File(path: string): string {
  const { fd, sizeBytes } = openRegularFile(path);
  const hash = createHash('sha256');
  try {
    const buffer = new Uint8Array(Math.min(CHUNK_BYTES, sizeBytes));
    for (let position = 0; position < sizeBytes; position += CHUNK_BYTES) {
      const chunk = buffer.subarray(0, Math.min(CHUNK_BYTES, sizeBytes - position));
      readFully(fd, chunk, position, path);
      hash.update(chunk);
    }
    return hash.digest('hex');
  } finally {
    closeSync(fd);
  }
}
