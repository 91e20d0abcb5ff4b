/**
 * config.json of the Llama family, in the styles of transformers 4 and 5, turned into one strict type.
 *
 * Defaults are those of the transformers configuration classes (`configuration_llama.py` and its siblings); an option
 * that our forward pass would silently ignore is refused by name.
 */

import { CrayonError } from '../core/errors.js';
import { isJsonObject, type JsonObject } from '../files/json.js';

export const MODEL_TYPES = ['llama', 'mistral', 'qwen2', 'qwen3'] as const;
export type ModelType = (typeof MODEL_TYPES)[number];

export type RopeScaling =
  | { type: 'linear'; factor: number }
  | {
      type: 'llama3';
      factor: number;
      lowFreqFactor: number;
      highFreqFactor: number;
      originalMaxPositionEmbeddings: number;
    };

export interface ModelConfig {
  modelType: ModelType;
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

/** A sane bound on the number of layers, so that a bad file cannot make us check millions of names. */
const MAX_LAYERS = 10_000;

/**
 * Checks and converts a parsed config.json.
 *
 * @throws CrayonError `model-unsupported` for another model type or an unsupported option, `model-invalid` naming every
 *   bad value
 */
export function parseModelConfig(json: JsonObject, path: string): ModelConfig {
  const modelType = json.model_type as ModelType;
  if (!MODEL_TYPES.includes(modelType)) {
    const found = JSON.stringify(modelType) ?? 'missing';
    throw new CrayonError('model-unsupported', `${path}: model_type ${found}, expected ${MODEL_TYPES.join(', ')}`, {
      hint: 'Only these dense decoder models are supported.',
    });
  }
  const read = new ConfigReader(json);
  const hiddenSize = read.size('hidden_size');
  const numHeads = read.size('num_attention_heads');
  const isQwen = modelType === 'qwen2' || modelType === 'qwen3';
  const kvFallback =
    json.num_key_value_heads === null ? numHeads : { llama: numHeads, mistral: 8, qwen2: 32, qwen3: 32 }[modelType];
  const headFallback = modelType === 'qwen3' ? 128 : hiddenSize / numHeads;
  // qwen2 always has q/k/v biases and never an o bias; mistral has none; the others say it.
  const bias = modelType === 'llama' || modelType === 'qwen3' ? read.flag('attention_bias') : false;
  const rope = readRope(read, path);
  const config: ModelConfig = {
    modelType,
    hiddenSize,
    intermediateSize: read.size('intermediate_size'),
    numLayers: read.size('num_hidden_layers'),
    numHeads,
    numKvHeads: read.size('num_key_value_heads', kvFallback),
    headDim: read.size('head_dim', headFallback),
    vocabSize: read.size('vocab_size'),
    rmsNormEps: read.positive('rms_norm_eps', 1e-6),
    ...rope,
    maxPositionEmbeddings: read.size('max_position_embeddings', modelType === 'llama' ? 2048 : 32768),
    slidingWindow: isQwen
      ? qwenWindow(read, path)
      : modelType === 'mistral'
        ? read.optionalSize('sliding_window', 4096)
        : null,
    tieWordEmbeddings: read.flag('tie_word_embeddings'),
    attentionBias: bias || modelType === 'qwen2',
    attentionOutBias: bias,
    mlpBias: modelType === 'llama' ? read.flag('mlp_bias') : false,
    qkNorm: modelType === 'qwen3',
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

/** Reads values with defaults and collects what is wrong. */
class ConfigReader {
  readonly bad: string[] = [];
  readonly json: JsonObject;

  constructor(json: JsonObject) {
    this.json = json;
  }

  /** A whole number from 1. A fallback is checked like a value that was given. */
  size(key: string, fallback?: number): number {
    return this.#take(key, fallback, (x) => Number.isSafeInteger(x) && (x as number) >= 1, 'a whole number from 1');
  }

  optionalSize(key: string, fallback: number): number | null {
    return this.json[key] === null ? null : this.size(key, fallback);
  }

  positive(key: string, fallback?: number): number {
    return this.#take(key, fallback, (x) => Number.isFinite(x) && (x as number) > 0, 'a number above 0');
  }

  flag(key: string): boolean {
    return this.#take(key, false, (x) => typeof x === 'boolean', 'true or false');
  }

  tokenIds(key: string): number[] {
    const value = this.json[key];
    if (value === undefined || value === null) return [];
    const ids = Array.isArray(value) ? value : [value];
    if (ids.every((id) => Number.isSafeInteger(id) && id >= 0)) return ids;
    this.bad.push(`${key} is ${JSON.stringify(value)}, expected a token id or a list of them`);
    return [];
  }

  #take<T>(key: string, fallback: T | undefined, isValid: (value: unknown) => boolean, expected: string): T {
    const value = this.json[key] ?? fallback;
    if (!isValid(value)) this.bad.push(`${key} is ${JSON.stringify(value) ?? 'missing'}, expected ${expected}`);
    return value as T;
  }
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

/** Qwen can give a window to some layers only; then it is neither null nor one number. */
function qwenWindow(read: ConfigReader, path: string): number | null {
  const { layer_types: types, use_sliding_window: isUsed } = read.json;
  if (isUsed !== true) return null;
  const window = read.optionalSize('sliding_window', 4096);
  const firstLayer = (read.json.max_window_layers ?? 28) as number;
  const layers = Array.isArray(types)
    ? types
    : Array.from({ length: Math.min(read.size('num_hidden_layers'), MAX_LAYERS) }, (_, i) => {
        return i >= firstLayer ? 'sliding_attention' : 'full_attention';
      });
  if (window === null || layers.every((type) => type === 'full_attention')) return null;
  if (layers.every((type) => type === 'sliding_attention')) return window;
  throw new CrayonError('model-unsupported', `${path}: a sliding window on some layers only (max_window_layers)`, {
    hint: 'Set use_sliding_window to false if prompts stay shorter than the window.',
  });
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
