/**
 * config.json of the Llama family, in the styles of transformers 4 and 5, turned into one strict type.
 *
 * Defaults are those of the transformers configuration classes (`configuration_llama.py` and its siblings), kept with each
 * family in families/; an option
 * that our forward pass would silently ignore is refused by name.
 */

import { CrayonError } from '../core/errors.js';
import { isJsonObject, type JsonObject } from '../files/json.js';
import { ConfigReader, MAX_LAYERS } from './families/family.js';
import { findFamily, MODEL_TYPES } from './families.js';

export type RopeScaling =
  | { type: 'linear'; factor: number }
  | {
      type: 'llama3';
      factor: number;
      lowFreqFactor: number;
      highFreqFactor: number;
      originalMaxPositionEmbeddings: number;
    }
  /** Each frequency is divided by its factor, (D/2): as a GGUF file stores what was llama3 once. */
  | { type: 'factors'; factors: readonly number[] };

export interface ModelConfig {
  /** see families.ts */
  modelType: string;
  /** C */
  hiddenSize: number;
  intermediateSize: number;
  numLayers: number;
  /** H, query heads */
  numHeads: number;
  /** Key and value heads; divides numHeads. */
  numKvHeads: number;
  /** D; not always hiddenSize / numHeads. */
  headDim: number;
  /** V */
  vocabSize: number;
  rmsNormEps: number;
  ropeTheta: number;
  ropeScaling: RopeScaling | null;
  maxPositionEmbeddings: number;
  /** Every layer sees this many tokens back, itself included; null for all of them. */
  slidingWindow: number | null;
  /** The output matrix is the embedding table. */
  tieWordEmbeddings: boolean;
  /** q, k and v projections have a bias. */
  attentionBias: boolean;
  /** The o projection has a bias. */
  attentionOutBias: boolean;
  mlpBias: boolean;
  /** RMSNorm on each query and key head (qwen3). */
  qkNorm: boolean;
  bosTokenId: number | null;
  eosTokenIds: number[];
}

/**
 * Checks and converts a parsed config.json.
 *
 * @throws CrayonError `model-unsupported` for another model type or an unsupported option, `model-invalid` naming every
 *   bad value
 */
export function parseModelConfig(json: JsonObject, path: string): ModelConfig {
  const family = findFamily(json.model_type);
  if (family === undefined) {
    const found = JSON.stringify(json.model_type) ?? 'missing';
    throw new CrayonError('model-unsupported', `${path}: model_type ${found}, expected ${MODEL_TYPES.join(', ')}`, {
      hint: 'Only these dense decoder models are supported.',
    });
  }
  const { modelType, defaults, qkNorm } = family;
  const read = new ConfigReader(json);
  const hiddenSize = read.size('hidden_size');
  const numHeads = read.size('num_attention_heads');
  const kvFallback = json.num_key_value_heads === null ? numHeads : (defaults.numKvHeads ?? numHeads);
  const biases = family.biases(read);
  const config: ModelConfig = {
    modelType,
    hiddenSize,
    intermediateSize: read.size('intermediate_size'),
    numLayers: read.size('num_hidden_layers'),
    numHeads,
    numKvHeads: read.size('num_key_value_heads', kvFallback),
    headDim: read.size('head_dim', defaults.headDim ?? hiddenSize / numHeads),
    vocabSize: read.size('vocab_size'),
    rmsNormEps: read.positive('rms_norm_eps', 1e-6),
    ...readRope(read, path),
    maxPositionEmbeddings: read.size('max_position_embeddings', defaults.maxPositionEmbeddings),
    slidingWindow: family.slidingWindow(read, path),
    tieWordEmbeddings: read.flag('tie_word_embeddings'),
    ...biases,
    qkNorm,
    bosTokenId: read.tokenIds('bos_token_id')[0] ?? null,
    eosTokenIds: read.tokenIds('eos_token_id'),
  };
  const { numLayers, numKvHeads, headDim } = config;
  if (read.bad.length === 0) {
    if (numLayers > MAX_LAYERS) read.bad.push(`num_hidden_layers is ${numLayers}, expected at most ${MAX_LAYERS}`);
    if (numHeads % numKvHeads !== 0) {
      read.bad.push(`num_attention_heads ${numHeads} is not a multiple of num_key_value_heads ${numKvHeads}`);
    }
    if (headDim % 2 !== 0) read.bad.push(`head_dim is ${headDim}, expected an even number`);
  }
  if (read.bad.length > 0) throw new CrayonError('model-invalid', `${path}: ${read.bad.join('; ')}`);
  refuseUnsupported(json, path);
  return config;
}

/** `rope_theta` + `rope_scaling` (transformers 4) or `rope_parameters` (transformers 5). */
function readRope(read: ConfigReader, path: string): Pick<ModelConfig, 'ropeTheta' | 'ropeScaling'> {
  const { rope_parameters: parameters, rope_scaling: scaling } = read.json;
  const values = isJsonObject(parameters) ? parameters : isJsonObject(scaling) ? scaling : {};
  const rope = new ConfigReader({ rope_theta: read.json.rope_theta, ...values });
  const type = values.rope_type ?? values.type ?? 'default';
  let ropeScaling: RopeScaling | null = null;
  if (type === 'linear') ropeScaling = { type, factor: rope.positive('factor') };
  else if (type === 'llama3') {
    ropeScaling = {
      type,
      factor: rope.positive('factor'),
      lowFreqFactor: rope.positive('low_freq_factor'),
      highFreqFactor: rope.positive('high_freq_factor'),
      originalMaxPositionEmbeddings: rope.size('original_max_position_embeddings'),
    };
    if (ropeScaling.highFreqFactor <= ropeScaling.lowFreqFactor) {
      rope.bad.push('high_freq_factor is not above low_freq_factor');
    }
  } else if (type !== 'default') {
    throw new CrayonError(
      'model-unsupported',
      `${path}: rope type ${JSON.stringify(type)}, expected default, linear or llama3`,
    );
  }
  const ropeTheta = rope.positive('rope_theta', 10_000);
  read.bad.push(...rope.bad);
  return { ropeTheta, ropeScaling };
}

function refuseUnsupported(json: JsonObject, path: string): void {
  const found: string[] = [];
  const { hidden_act: act = 'silu', quantization_config: quantization, rope_parameters: rope } = json;
  if (act !== 'silu') found.push(`hidden_act ${JSON.stringify(act)}, expected "silu"`);
  if (quantization !== undefined && quantization !== null) found.push('quantised weights (quantization_config)');
  const partial = json.partial_rotary_factor ?? (isJsonObject(rope) ? rope.partial_rotary_factor : undefined) ?? 1;
  if (partial !== 1) found.push(`partial_rotary_factor ${JSON.stringify(partial)}, expected 1`);
  if (found.length === 0) return;
  throw new CrayonError('model-unsupported', `${path}: unsupported: ${found.join('; ')}`);
}
