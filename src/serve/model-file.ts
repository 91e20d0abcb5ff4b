/** What the served GGUF says of itself, for clients that list models with their sizes and types. */

import { GGUF_FILE_TYPES } from '../gguf/file-types.js';
import { ggufNumber } from '../gguf/format.js';
import type { GgufFile } from '../gguf/read.js';

export interface ModelFile {
  sizeBytes: number;
  /** SHA-256 of its size, its header and samples of its data */
  digest: string;
  /** `general.architecture` */
  family: string;
  parameters: number;
  /** e.g. `Q4_K_M`; `unknown` for a type that crayon does not write */
  quantization: string;
  /** All metadata but lists, by GGUF's own keys. */
  metadata: Record<string, string | number | boolean>;
}

/** @param file open */
export function modelFile(file: GgufFile): ModelFile {
  const type = ggufNumber(file, 'general.file_type');
  const metadata: ModelFile['metadata'] = {};
  for (const [key, { value }] of file.metadata) {
    if (typeof value === 'bigint') metadata[key] = Number(value);
    else if (typeof value !== 'object') metadata[key] = value;
  }
  const elements = [...file.tensors.values()].map(({ shape }) => shape.reduce((product, n) => product * n, 1));
  return {
    sizeBytes: file.sizeBytes,
    digest: file.digest(),
    family: file.architecture,
    parameters: elements.reduce((sum, n) => sum + n, 0),
    quantization: Object.entries(GGUF_FILE_TYPES).find(([, { id }]) => id === type)?.[0] ?? 'unknown',
    metadata,
  };
}
