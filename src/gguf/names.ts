/**
 * Hugging Face's names and row order turned into llama.cpp's and back, as its converter does (`conversion/llama.py`,
 * `gguf-py/gguf/tensor_mapping.py`).
 */

import type { GgufArchitecture } from '../hf/families/family.js';
import { ggufCount, ggufInvalid } from './format.js';
import type { GgufFile } from './read.js';

const MODULES: Record<string, string> = {
  'self_attn.q_proj': 'attn_q',
  'self_attn.k_proj': 'attn_k',
  'self_attn.v_proj': 'attn_v',
  'self_attn.o_proj': 'attn_output',
  'self_attn.q_norm': 'attn_q_norm',
  'self_attn.k_norm': 'attn_k_norm',
  'mlp.gate_proj': 'ffn_gate',
  'mlp.up_proj': 'ffn_up',
  'mlp.down_proj': 'ffn_down',
  input_layernorm: 'attn_norm',
  post_attention_layernorm: 'ffn_norm',
};

/** llama.cpp's name of a module such as `model.layers.0.self_attn.q_proj`, or undefined when it has none. */
export function ggufModuleName({ modules }: GgufArchitecture, module: string): string | undefined {
  if (module === 'model.embed_tokens') return 'token_embd';
  if (module === 'model.norm') return 'output_norm';
  if (module === 'lm_head') return 'output';
  const [, layer, name] = /^model\.layers\.(\d+)\.(.+)$/.exec(module) ?? [];
  if (name === undefined) return undefined;
  const found = modules !== undefined && Object.hasOwn(modules, name) ? modules : MODULES;
  return Object.hasOwn(found, name) ? `blk.${layer}.${found[name]}` : undefined;
}

/** llama.cpp's name of a tensor such as `model.layers.0.self_attn.q_proj.weight`, or undefined when it has none. */
export function ggufTensorName(architecture: GgufArchitecture, tensor: string): string | undefined {
  const dot = tensor.lastIndexOf('.');
  const module = ggufModuleName(architecture, tensor.slice(0, dot));
  return module === undefined ? undefined : `${module}${tensor.slice(dot)}`;
}

/** Heads and size of one head of the attention; what is needed to reorder its rows. */
export interface AttentionShape {
  numHeads: number;
  numKvHeads: number;
  /** D */
  headDim: number;
}

/** The sizes that a base model's file gives. @throws CrayonError `gguf-invalid` naming the one that is missing or bad */
export function ggufSizes(file: GgufFile): Omit<AttentionShape, 'numKvHeads'> & { hiddenSize: number } {
  const required = (key: string): number => {
    const value = ggufCount(file, `${file.architecture}.${key}`);
    if (value === undefined) throw ggufInvalid(file.path, `has no ${file.architecture}.${key}`);
    return value;
  };
  const hiddenSize = required('embedding_length');
  const numHeads = required('attention.head_count');
  const headDim = ggufCount(file, `${file.architecture}.attention.key_length`) ?? hiddenSize / numHeads;
  return { hiddenSize, numHeads, headDim };
}

/**
 * A tensor as llama.cpp has it: where the architecture reorders heads, the rows of q and k are moved; where it adds to norms,
 * the sum.
 *
 * @param name llama.cpp's name, of a weight, a bias or a LoRA factor B
 */
export function inGgufOrder(
  architecture: GgufArchitecture,
  name: string,
  shape: AttentionShape,
  data: Float32Array,
): Float32Array {
  return moved(architecture, name, shape, data, true);
}

/** The reverse of `inGgufOrder`: a whole tensor of a file, as transformers has it. */
export function inHfOrder(
  architecture: GgufArchitecture,
  name: string,
  shape: AttentionShape,
  data: Float32Array,
): Float32Array {
  return moved(architecture, name, shape, data, false);
}

const NORM = /norm\.weight$/;

function moved(
  architecture: GgufArchitecture,
  name: string,
  shape: AttentionShape,
  data: Float32Array,
  toGguf: boolean,
): Float32Array {
  const { normOffset = 0 } = architecture;
  if (normOffset !== 0 && NORM.test(name)) return data.map((x) => (toGguf ? x + normOffset : x - normOffset));
  const heads = reorderedHeads(architecture, name, shape);
  return heads === undefined ? data : reorderHeads(data, heads * shape.headDim, shape.headDim, toGguf);
}

/** The row of a file's tensor that holds transformers' row. */
export function ggufRow(architecture: GgufArchitecture, name: string, shape: AttentionShape, row: number): number {
  return reorderedHeads(architecture, name, shape) === undefined ? row : pairedRow(row, shape.headDim);
}

/** Of how many heads the rows are reordered; undefined for tensors that stay as they are. */
function reorderedHeads(
  { reordersHeads }: GgufArchitecture,
  name: string,
  { numHeads, numKvHeads }: AttentionShape,
): number | undefined {
  const [, projection] = /^blk\.\d+\.attn_([qk])\./.exec(name) ?? [];
  if (!reordersHeads || projection === undefined) return undefined;
  return projection === 'q' ? numHeads : numKvHeads;
}

/**
 * Moves the rows of a (rows, columns) matrix, whole heads of D, between transformers' order, where a rotated pair is D/2 rows
 * apart, and llama.cpp's, where its rows are neighbours.
 *
 * @param toGguf from the first to the second; else back
 */
export function reorderHeads(data: Float32Array, rows: number, D: number, toGguf: boolean): Float32Array {
  const columns = data.length / rows;
  const out = new Float32Array(data.length);
  for (let row = 0; row < rows; row++) {
    const paired = pairedRow(row, D);
    const [from, to] = toGguf ? [row, paired] : [paired, row];
    out.set(data.subarray(from * columns, (from + 1) * columns), to * columns);
  }
  return out;
}

/** Where llama.cpp keeps transformers' row. */
function pairedRow(row: number, D: number): number {
  const inHead = row % D;
  return row - inHead + (inHead < D / 2 ? 2 * inHead : 2 * inHead - D + 1);
}
