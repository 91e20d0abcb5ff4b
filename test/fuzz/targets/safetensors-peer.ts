/** A safetensors file as the npm package of that name reads it, against what crayon read. */

import { createRequire } from 'node:module';
import type { TensorInfo } from '../../../src/safetensors/read.js';

interface Peer {
  metadata: Map<string, { dtype: string; shape: number[] }>;
  getTensor(name: string): Uint8Array;
}
const { SafeTensor } = createRequire(import.meta.url)('safetensors') as { SafeTensor: new (bytes: Uint8Array) => Peer };

type Read = ReadonlyMap<string, Pick<TensorInfo, 'dtype' | 'shape'> & { bytes: Uint8Array }>;

/** What differs, or null; the package fails on every file with metadata, which says nothing. */
export function safetensorsDifference(file: Buffer, tensors: Read, metadata: object): string | null {
  if (Object.keys(metadata).length > 0 || file.includes('__metadata__')) return null;
  const peer = new SafeTensor(new Uint8Array(file));
  if (peer.metadata.size !== tensors.size) return `has ${peer.metadata.size} tensors, not ${tensors.size}`;
  for (const [name, { dtype, shape, bytes }] of tensors) {
    const found = peer.metadata.get(name);
    if (found?.dtype !== dtype || String(found.shape) !== String(shape))
      return `${JSON.stringify(name)} is ${found?.dtype} [${found?.shape}], not ${dtype} [${shape}]`;
    if (!Buffer.from(peer.getTensor(name)).equals(bytes)) return `${JSON.stringify(name)} has other bytes`;
  }
  return null;
}
