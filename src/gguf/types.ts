/**
 * The types in which GGUF files store tensors: the table that reader, writer and exporter go by. One more type is its two
 * functions in `types/` and a row here.
 */

import {
  dequantiseQ40,
  dequantiseQ41,
  dequantiseQ50,
  dequantiseQ51,
  dequantiseQ80,
  quantiseQ40,
  quantiseQ41,
  quantiseQ50,
  quantiseQ51,
  quantiseQ80,
} from './types/blocks-of-32.js';
import { readBF16, readF16, readF32, writeF16, writeF32 } from './types/floats.js';
import {
  dequantiseIQ1M,
  dequantiseIQ1S,
  dequantiseIQ2S,
  dequantiseIQ2XS,
  dequantiseIQ2XXS,
  dequantiseIQ3S,
  dequantiseIQ3XXS,
} from './types/i-quants.js';
import { dequantiseQ2K, dequantiseQ3K, dequantiseQ4K, dequantiseQ5K, dequantiseQ6K } from './types/k-dequantise.js';
import { quantiseQ4K, quantiseQ5K, quantiseQ6K } from './types/k-quantise.js';
import {
  dequantiseIQ4NL,
  dequantiseIQ4XS,
  dequantiseMXFP4,
  dequantiseNVFP4,
  dequantiseQ10,
  dequantiseQ20,
  dequantiseTQ10,
  dequantiseTQ20,
} from './types/level-tables.js';
import type { Dequantise, GgmlTypeRow, Quantise } from './types/type.js';

/** Types that crayon reads, and where there is `quantise` also writes. */
export const GGML_TYPES = {
  F32: { id: 0, block: 1, bytes: 4, dequantise: readF32, quantise: writeF32 },
  F16: { id: 1, block: 1, bytes: 2, dequantise: readF16, quantise: writeF16 },
  Q4_0: { id: 2, block: 32, bytes: 18, dequantise: dequantiseQ40, quantise: quantiseQ40 },
  Q4_1: { id: 3, block: 32, bytes: 20, dequantise: dequantiseQ41, quantise: quantiseQ41 },
  Q5_0: { id: 6, block: 32, bytes: 22, dequantise: dequantiseQ50, quantise: quantiseQ50 },
  Q5_1: { id: 7, block: 32, bytes: 24, dequantise: dequantiseQ51, quantise: quantiseQ51 },
  Q8_0: { id: 8, block: 32, bytes: 34, dequantise: dequantiseQ80, quantise: quantiseQ80 },
  Q2_K: { id: 10, block: 256, bytes: 84, dequantise: dequantiseQ2K },
  Q3_K: { id: 11, block: 256, bytes: 110, dequantise: dequantiseQ3K },
  Q4_K: { id: 12, block: 256, bytes: 144, dequantise: dequantiseQ4K, quantise: quantiseQ4K },
  Q5_K: { id: 13, block: 256, bytes: 176, dequantise: dequantiseQ5K, quantise: quantiseQ5K },
  Q6_K: { id: 14, block: 256, bytes: 210, dequantise: dequantiseQ6K, quantise: quantiseQ6K },
  IQ2_XXS: { id: 16, block: 256, bytes: 66, dequantise: dequantiseIQ2XXS },
  IQ2_XS: { id: 17, block: 256, bytes: 74, dequantise: dequantiseIQ2XS },
  IQ3_XXS: { id: 18, block: 256, bytes: 98, dequantise: dequantiseIQ3XXS },
  IQ1_S: { id: 19, block: 256, bytes: 50, dequantise: dequantiseIQ1S },
  IQ4_NL: { id: 20, block: 32, bytes: 18, dequantise: dequantiseIQ4NL },
  IQ3_S: { id: 21, block: 256, bytes: 110, dequantise: dequantiseIQ3S },
  IQ2_S: { id: 22, block: 256, bytes: 82, dequantise: dequantiseIQ2S },
  IQ4_XS: { id: 23, block: 256, bytes: 136, dequantise: dequantiseIQ4XS },
  IQ1_M: { id: 29, block: 256, bytes: 56, dequantise: dequantiseIQ1M },
  BF16: { id: 30, block: 1, bytes: 2, dequantise: readBF16 },
  TQ1_0: { id: 34, block: 256, bytes: 54, dequantise: dequantiseTQ10 },
  TQ2_0: { id: 35, block: 256, bytes: 66, dequantise: dequantiseTQ20 },
  MXFP4: { id: 39, block: 32, bytes: 17, dequantise: dequantiseMXFP4 },
  NVFP4: { id: 40, block: 64, bytes: 36, dequantise: dequantiseNVFP4 },
  Q1_0: { id: 41, block: 128, bytes: 18, dequantise: dequantiseQ10 },
  Q2_0: { id: 42, block: 64, bytes: 18, dequantise: dequantiseQ20 },
} as const satisfies Record<string, GgmlTypeRow & { dequantise: Dequantise }>;
export type GgmlType = keyof typeof GGML_TYPES;

/** Types that a tensor can be written in. */
export type GgufWriteType = {
  [T in GgmlType]: (typeof GGML_TYPES)[T] extends { quantise: Quantise } ? T : never;
}[GgmlType];

/**
 * Types whose size crayon knows but whose numbers it does not read: a file may hold such tensors beside those that are needed,
 * and llama.cpp reads them itself.
 */
export const GGML_OPAQUE_TYPES = {
  I8: { id: 24, block: 1, bytes: 1 },
  I16: { id: 25, block: 1, bytes: 2 },
  I32: { id: 26, block: 1, bytes: 4 },
  I64: { id: 27, block: 1, bytes: 8 },
  F64: { id: 28, block: 1, bytes: 8 },
} as const satisfies Record<string, GgmlTypeRow>;
export type GgmlOpaqueType = keyof typeof GGML_OPAQUE_TYPES;
