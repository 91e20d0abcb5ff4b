/** The GGUF container's types (github.com/ggml-org/ggml, docs/gguf.md, version 3), shared by reader and writer. */

export const GGUF_MAGIC = 0x46554747; // 'GGUF', little-endian
export const GGUF_VERSION = 3;
export const GGUF_DEFAULT_ALIGNMENT = 32;

/** Value types of metadata, by their number in the file. */
export const GGUF_VALUE_TYPES = [
  'uint8',
  'int8',
  'uint16',
  'int16',
  'uint32',
  'int32',
  'float32',
  'bool',
  'string',
  'array',
  'uint64',
  'int64',
  'float64',
] as const;
export type GgufValueType = (typeof GGUF_VALUE_TYPES)[number];

/** A metadata value with its type, so that what is read can be written again byte for byte. */
export type GgufValue =
  | { type: Exclude<GgufValueType, 'bool' | 'string' | 'array' | 'uint64' | 'int64'>; value: number }
  | { type: 'uint64' | 'int64'; value: bigint }
  | { type: 'bool'; value: boolean }
  | { type: 'string'; value: string }
  | { type: 'array'; of: 'string'; value: string[] }
  | { type: 'array'; of: 'bool'; value: boolean[] }
  | { type: 'array'; of: 'uint64' | 'int64'; value: bigint[] }
  | { type: 'array'; of: Exclude<GgufValueType, 'bool' | 'string' | 'array' | 'uint64' | 'int64'>; value: number[] };

export type GgufMetadata = ReadonlyMap<string, GgufValue>;

/** Tensor encodings that crayon reads, with their number in the file, elements a block and bytes a block (ggml.h). */
export const GGML_TYPES = {
  F32: { id: 0, block: 1, bytes: 4 },
  F16: { id: 1, block: 1, bytes: 2 },
  Q4_0: { id: 2, block: 32, bytes: 18 },
  Q4_1: { id: 3, block: 32, bytes: 20 },
  Q5_0: { id: 6, block: 32, bytes: 22 },
  Q5_1: { id: 7, block: 32, bytes: 24 },
  Q8_0: { id: 8, block: 32, bytes: 34 },
  Q4_K: { id: 12, block: 256, bytes: 144 },
  Q5_K: { id: 13, block: 256, bytes: 176 },
  Q6_K: { id: 14, block: 256, bytes: 210 },
  BF16: { id: 30, block: 1, bytes: 2 },
} as const;
export type GgmlType = keyof typeof GGML_TYPES;

/**
 * Encodings whose size crayon knows but whose numbers it does not read: a file may hold such tensors beside those that are
 * needed, and llama.cpp reads them itself.
 */
export const GGML_OPAQUE_TYPES = {
  Q2_K: { id: 10, block: 256, bytes: 84 },
  Q3_K: { id: 11, block: 256, bytes: 110 },
  IQ2_XXS: { id: 16, block: 256, bytes: 66 },
  IQ2_XS: { id: 17, block: 256, bytes: 74 },
  IQ3_XXS: { id: 18, block: 256, bytes: 98 },
  IQ1_S: { id: 19, block: 256, bytes: 50 },
  IQ4_NL: { id: 20, block: 32, bytes: 18 },
  IQ3_S: { id: 21, block: 256, bytes: 110 },
  IQ2_S: { id: 22, block: 256, bytes: 82 },
  IQ4_XS: { id: 23, block: 256, bytes: 136 },
  I8: { id: 24, block: 1, bytes: 1 },
  I16: { id: 25, block: 1, bytes: 2 },
  I32: { id: 26, block: 1, bytes: 4 },
  I64: { id: 27, block: 1, bytes: 8 },
  F64: { id: 28, block: 1, bytes: 8 },
  IQ1_M: { id: 29, block: 256, bytes: 56 },
  TQ1_0: { id: 34, block: 256, bytes: 54 },
  TQ2_0: { id: 35, block: 256, bytes: 66 },
  MXFP4: { id: 39, block: 32, bytes: 17 },
  NVFP4: { id: 40, block: 64, bytes: 36 },
  Q1_0: { id: 41, block: 128, bytes: 18 },
} as const;
export type GgmlOpaqueType = keyof typeof GGML_OPAQUE_TYPES;

export interface GgufTensorInfo {
  name: string;
  /** as in PyTorch, outermost first: GGUF's own order reversed */
  shape: number[];
  type: GgmlType | GgmlOpaqueType;
  /** from the start of the data section */
  offset: number;
  bytes: number;
}
