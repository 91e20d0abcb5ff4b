/**
 * What `--type` chooses: the file types of llama.cpp (`enum llama_ftype` in llama.h), and which type each tensor of such a file is
 * stored in, as llama.cpp's quantiser decides it without an importance matrix (src/llama-quant.cpp: llama_tensor_get_type_impl,
 * tensor_type_fallback).
 */

import type { GgufValue } from './format.js';
import { GGML_TYPES, type GgufWriteType } from './types.js';

/** Raises the type of tensor `i` of the `n` of its kind; undefined leaves the file's. */
type Raise = (i: number, n: number) => GgufWriteType | undefined;

interface FileType {
  /** `general.file_type` */
  id: number;
  /** of most matrices */
  tensor: GgufWriteType;
  /** of the tensors that suffer most: attn_v (or attn_qkv) and ffn_down */
  attention?: Raise;
  ffnDown?: Raise;
}

const eighth = (n: number): number => Math.floor(n / 8);

/** The first and the last eighth, and every third between (`use_more_bits`). */
const moreBits: Raise = (i, n) =>
  i < eighth(n) || i >= eighth(7 * n) || (i - eighth(n)) % 3 === 2 ? 'Q6_K' : undefined;

export const GGUF_FILE_TYPES = {
  F32: { id: 0, tensor: 'F32' },
  F16: { id: 1, tensor: 'F16' },
  Q8_0: { id: 7, tensor: 'Q8_0' },
  Q6_K: { id: 18, tensor: 'Q6_K' },
  Q5_K_M: { id: 17, tensor: 'Q5_K', attention: moreBits, ffnDown: moreBits },
  Q5_K_S: { id: 16, tensor: 'Q5_K' },
  Q5_1: { id: 9, tensor: 'Q5_1' },
  Q5_0: { id: 8, tensor: 'Q5_0' },
  Q4_K_M: { id: 15, tensor: 'Q4_K', attention: moreBits, ffnDown: moreBits },
  Q4_K_S: {
    id: 14,
    tensor: 'Q4_K',
    attention: (i) => (i < 4 ? 'Q5_K' : undefined),
    ffnDown: (i, n) => (i < eighth(n) ? 'Q5_K' : undefined),
  },
  Q4_1: { id: 3, tensor: 'Q4_1' },
  Q4_0: { id: 2, tensor: 'Q4_0' },
} as const satisfies Record<string, FileType>;
export type GgufFileType = keyof typeof GGUF_FILE_TYPES;

/** The choices of `--type`, from large to small. */
export const GGUF_FILE_TYPE_NAMES = Object.keys(GGUF_FILE_TYPES) as [GgufFileType, ...GgufFileType[]];

/** GGML_QNT_VERSION in ggml.h. */
const QUANTIZATION_VERSION = 2;

/** What a file's metadata say of its type. */
export function fileTypeMetadata(type: GgufFileType): Array<[string, GgufValue]> {
  return [
    ['general.file_type', { type: 'uint32', value: GGUF_FILE_TYPES[type].id }],
    ['general.quantization_version', { type: 'uint32', value: QUANTIZATION_VERSION }],
  ];
}

/** How many tensors are stored in which type. */
export function countTypes(tensors: ReadonlyArray<{ type: GgufWriteType }>): Partial<Record<GgufWriteType, number>> {
  const counts: Partial<Record<GgufWriteType, number>> = {};
  for (const { type } of tensors) counts[type] = (counts[type] ?? 0) + 1;
  return counts;
}

/** What a type becomes where a row is no whole number of its blocks. */
const FALLBACK: Partial<Record<GgufWriteType, GgufWriteType>> = { Q4_K: 'Q5_0', Q5_K: 'Q5_1', Q6_K: 'Q8_0' };

/** What the choice depends on besides names and shapes. */
export interface StoredModel {
  architecture: string;
  numLayers: number;
  numHeads: number;
  numKvHeads: number;
}

/**
 * The stored type of each tensor of a model, in the order given.
 *
 * Vectors and norms are small and sensitive: F32. The output head, or the embeddings that stand in for it, get Q6_K under any
 * quantised type but Q8_0.
 */
export function storedTypes(
  fileType: GgufFileType,
  tensors: ReadonlyArray<{ name: string; shape: readonly number[] }>,
  model: StoredModel,
): GgufWriteType[] {
  const { tensor: most, attention, ffnDown }: FileType = GGUF_FILE_TYPES[fileType];
  const head = tensors.some(({ name }) => name === 'output.weight') ? 'output.weight' : 'token_embd.weight';
  const isAttention = (name: string) => /attn_(v|qkv)\.weight$/.test(name);
  const isFfnDown = (name: string) => /ffn_down\.weight$/.test(name);
  const layersOf = (isKind: (name: string) => boolean) =>
    tensors
      .filter(({ name }) => isKind(name))
      .map(({ name }) => layerOf(name))
      .sort((a, b) => a - b);
  const attentionLayers = layersOf(isAttention);
  const ffnDownLayers = layersOf(isFfnDown);

  const wanted = (name: string, columns: number): GgufWriteType => {
    if (name === head) return columns % GGML_TYPES[most].block !== 0 || most === 'Q8_0' ? 'Q8_0' : 'Q6_K';
    if (isAttention(name)) {
      const type = attention?.(attentionLayers.indexOf(layerOf(name)), attentionLayers.length) ?? most;
      return type === 'Q4_K' && isOf70B(model) ? 'Q5_K' : type;
    }
    if (isFfnDown(name)) return ffnDown?.(ffnDownLayers.indexOf(layerOf(name)), model.numLayers) ?? most;
    return most;
  };
  return tensors.map(({ name, shape }) => {
    if (shape.length === 1 || name.endsWith('_norm.weight')) return 'F32';
    if (most === 'F32' || most === 'F16') return most;
    const columns = shape.at(-1)!;
    const isWhole = (type: GgufWriteType) => columns % GGML_TYPES[type].block === 0;
    const type = wanted(name, columns);
    const fitting = isWhole(type) ? type : (FALLBACK[type] ?? type);
    return isWhole(fitting) ? fitting : 'F16';
  });
}

const layerOf = (name: string): number => Number(/^blk\.(\d+)\./.exec(name)?.[1] ?? -1);

/** Llama 2 70B and its like, where eight heads share the values (LLM_TYPE_70B). */
function isOf70B({ architecture, numLayers, numHeads, numKvHeads }: StoredModel): boolean {
  if (numLayers !== 80) return false;
  return architecture === 'qwen2' || (architecture === 'llama' && numHeads !== numKvHeads);
}
