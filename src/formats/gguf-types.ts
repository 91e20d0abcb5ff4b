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
  Q8_0: { id: 8, block: 32, bytes: 34 },
  Q4_K: { id: 12, block: 256, bytes: 144 },
  Q5_K: { id: 13, block: 256, bytes: 176 },
  Q6_K: { id: 14, block: 256, bytes: 210 },
  BF16: { id: 30, block: 1, bytes: 2 },
} as const;
export type GgmlType = keyof typeof GGML_TYPES;

export interface GgufTensorInfo {
  name: string;
  /** as in PyTorch, outermost first: GGUF's own order reversed */
  shape: number[];
  type: GgmlType;
  /** from the start of the data section */
  offset: number;
  bytes: number;
}
