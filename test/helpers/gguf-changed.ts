/** A GGUF file written anew with other metadata, and tensors more. */

import { join } from 'node:path';
import type { GgufValue } from '../../src/gguf/format.js';
import { GgufFile } from '../../src/gguf/read.js';
import { type GgufTensorToWrite, writeGguf } from '../../src/gguf/write.js';
import { temporaryDir } from './files.js';

/** @param path a file of F32 tensors */
export function changedGguf(
  path: string,
  change: (metadata: Map<string, GgufValue>) => unknown,
  more: readonly GgufTensorToWrite[] = [],
): string {
  const file = GgufFile.open(path);
  const metadata = new Map(file.metadata);
  change(metadata);
  const tensors = [...file.tensors.values()].map(({ name, shape }): GgufTensorToWrite => {
    return { name, shape, type: 'F32', data: () => file.readF32(name) };
  });
  const out = join(temporaryDir(), 'changed.gguf');
  writeGguf(out, metadata, [...tensors, ...more]);
  file.close();
  return out;
}
