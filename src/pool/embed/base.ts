/**
 * The base model as far as embedding needs it, from a Hugging Face directory or from a GGUF file alone: its tokenizer, and
 * the weights of the first-attention embedding, which are read at their offsets.
 */

import { CrayonError } from '../../core/errors.js';
import { firstNonFinite } from '../../core/vector.js';
import { ggufCount, ggufNumber } from '../../gguf/format.js';
import { ggufSizes, reorderHeads } from '../../gguf/names.js';
import { GgufFile, isGgufPath } from '../../gguf/read.js';
import { ggufTokenizer } from '../../gguf/vocabulary/tokenizer.js';
import { findArchitecture, GGUF_ARCHITECTURES } from '../../hf/families.js';
import { HfModel, type ModelConfig } from '../../hf/model.js';
import { loadTokenizer, type Tokenizer } from '../../hf/tokenizer.js';

export interface OpenBase {
  source: HfModel | GgufFile;
  tokenizer: Tokenizer;
  /** tokens of the model's context */
  maxLength: number;
  /** rows of the embedding table */
  vocabSize: number;
}

/**
 * @param path a Hugging Face directory, or a GGUF file as llama.cpp runs it; `source` is the caller's to close
 * @throws CrayonError what opening the model and its tokenizer throws
 */
export function openEmbeddingBase(path: string): OpenBase {
  const source = isGgufPath(path) ? GgufFile.open(path) : HfModel.open(path);
  try {
    if (source instanceof HfModel) {
      const { maxPositionEmbeddings: maxLength, vocabSize } = source.config;
      return { source, tokenizer: loadTokenizer(path), maxLength, vocabSize };
    }
    const { vocabSize } = firstAttentionSource(source);
    const maxLength = ggufCount(source, `${source.architecture}.context_length`) ?? Infinity;
    return { source, tokenizer: ggufTokenizer(source), maxLength, vocabSize };
  } catch (error) {
    source.close();
    throw error;
  }
}

/** C hidden size, d query heads x head size. Arrays are row-major; all numbers are finite. */
export interface FirstAttentionSource
  extends Readonly<Pick<ModelConfig, 'hiddenSize' | 'rmsNormEps' | 'numHeads' | 'headDim' | 'vocabSize'>> {
  /** Rows of the embedding table: (tokens.length, C) */
  embeddingRows(tokens: ArrayLike<number>): Float32Array;
  /** The first layer's input norm: (C) */
  inputNorm(): Float32Array;
  /** The first layer's query projection, rows in Hugging Face's order: (d, C) */
  queryWeight(): Float32Array;
  /** (d) in Hugging Face's row order, or null where the model has none */
  queryBias(): Float32Array | null;
}

/** What an embedding can be read from. */
export type EmbeddingBase = HfModel | GgufFile | FirstAttentionSource;

/** @throws CrayonError see `ggufFirstAttention` */
export function firstAttentionSource(base: EmbeddingBase): FirstAttentionSource {
  if (base instanceof HfModel) return hfFirstAttention(base);
  if (base instanceof GgufFile) return ggufFirstAttention(base);
  return base;
}

function hfFirstAttention(model: HfModel): FirstAttentionSource {
  const layer = 'model.layers.0';
  return {
    ...model.config,
    embeddingRows: (tokens) => model.readRowsF32('model.embed_tokens.weight', tokens),
    inputNorm: () => model.readF32(`${layer}.input_layernorm.weight`),
    queryWeight: () => model.readF32(`${layer}.self_attn.q_proj.weight`),
    queryBias: () => (model.config.attentionBias ? model.readF32(`${layer}.self_attn.q_proj.bias`) : null),
  };
}

const TABLE = 'token_embd.weight';
const NORM = 'blk.0.attn_norm.weight';
const QUERY = 'blk.0.attn_q.weight';
const BIAS = 'blk.0.attn_q.bias';

/**
 * @throws CrayonError `gguf-unsupported` for another architecture or a tensor type that is not read, `gguf-invalid` where
 *   sizes and tensors disagree
 */
function ggufFirstAttention(file: GgufFile): FirstAttentionSource {
  const { architecture, path } = file;
  const isPermuted = findArchitecture(architecture)?.reordersHeads;
  if (isPermuted === undefined) {
    throw new CrayonError('gguf-unsupported', `${path}: first-attention of architecture "${architecture}"`, {
      hint: `It can be read from ${GGUF_ARCHITECTURES.join(', ')}.`,
    });
  }
  const { hiddenSize, numHeads, headDim } = ggufSizes(file);
  const epsKey = `${architecture}.attention.layer_norm_rms_epsilon`;
  const storedEps = ggufNumber(file, epsKey);
  if (storedEps === undefined) throw new CrayonError('gguf-invalid', `${path}: has no ${epsKey}`);
  // The float32 that is stored stands for config.json's decimal: rounded to that, both give the same numbers.
  const rmsNormEps = Number(storedEps.toPrecision(7));
  const vocabSize = file.info(TABLE).shape[0] ?? 0;
  const d = numHeads * headDim;
  checkShapes(file, { [TABLE]: [vocabSize, hiddenSize], [NORM]: [hiddenSize], [QUERY]: [d, hiddenSize] });
  const hasBias = file.tensors.has(BIAS);
  if (hasBias) checkShapes(file, { [BIAS]: [d] });
  if (!Number.isInteger(headDim) || (isPermuted && headDim % 2 !== 0)) {
    throw new CrayonError('gguf-invalid', `${path}: heads of ${headDim} numbers, expected an even whole number`);
  }

  const inHfOrder = (data: Float32Array): Float32Array => (isPermuted ? reorderHeads(data, d, headDim, false) : data);
  const finite = (name: string, data: Float32Array): Float32Array => {
    if (firstNonFinite(data) === -1) return data;
    throw new CrayonError('tensor-not-finite', `${path}: NaN or infinity in "${name}"`, {
      hint: 'The model file is damaged or was made from a failed run.',
    });
  };
  return {
    hiddenSize,
    rmsNormEps,
    numHeads,
    headDim,
    vocabSize,
    embeddingRows: (tokens) => finite(TABLE, file.readRowsF32(TABLE, tokens)),
    inputNorm: () => finite(NORM, file.readF32(NORM)),
    queryWeight: () => inHfOrder(finite(QUERY, file.readF32(QUERY))),
    queryBias: () => (hasBias ? inHfOrder(finite(BIAS, file.readF32(BIAS))) : null),
  };
}

function checkShapes(file: GgufFile, expected: Record<string, number[]>): void {
  const bad = Object.entries(expected).flatMap(([name, shape]) => {
    const found = file.tensors.get(name)?.shape;
    if (found === undefined) return [`"${name}" is missing, expected [${shape}]`];
    return String(found) === String(shape) ? [] : [`"${name}" has shape [${found}], expected [${shape}]`];
  });
  if (bad.length > 0) throw new CrayonError('gguf-invalid', `${file.path}: ${bad.join('; ')}`);
}
