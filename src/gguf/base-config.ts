/**
 * A GGUF file's metadata as the config.json that it was converted from, as far as a forward pass depends on it, so that a
 * model has one configuration, checked in one place, whatever its file format. Keys as llama.cpp reads them
 * (llama-model.cpp, `load_hparams`); what an architecture has beyond the common ones is told by its family's `gguf.config`.
 */

import { LIMITS } from '../core/limits.js';
import type { JsonObject } from '../files/json.js';
import { type ModelConfig, parseModelConfig } from '../hf/config.js';
import type { GgufArchitecture, GgufKeys } from '../hf/families/family.js';
import { findFamilyOfArchitecture, GGUF_ARCHITECTURES } from '../hf/families.js';
import { ggufBool, ggufCount, ggufInvalid, ggufNumber, ggufNumbers, ggufString, ggufUnsupported } from './format.js';
import { ggufSizes } from './names.js';
import type { GgufFile } from './read.js';
import { ROPE_FACTORS, ropeFactorsOf, ropeParametersOf } from './rope.js';
import { specialTokenIds } from './vocabulary/special-tokens.js';

/** Keys that change what some architectures compute: refused where the architecture's family does not read them. */
const ALTERING = [
  'attention.scale',
  'attention.clamp_kqv',
  'attention.max_alibi_bias',
  'attention.temperature_scale',
  'attention.temperature_length',
  'attn_logit_softcapping',
  'final_logit_softcapping',
  'residual_scale',
  'embedding_scale',
  'logit_scale',
  'expert_count',
];

/**
 * @throws CrayonError `gguf-unsupported` for another architecture or an option that crayon does not compute,
 *   `gguf-invalid` for a key that is missing or bad, and what `parseModelConfig` throws
 */
export function ggufModelConfig(file: GgufFile): {
  config: ModelConfig;
  /** the same as transformers reads it */
  json: JsonObject;
  architecture: GgufArchitecture;
} {
  const { path, architecture: name } = file;
  const family = findFamilyOfArchitecture(name);
  const type = ggufString(file, 'general.type') ?? 'model';
  if (type !== 'model' || family === undefined) {
    const found = type === 'model' ? `architecture ${JSON.stringify(name)}` : `a file of type ${JSON.stringify(type)}`;
    throw ggufUnsupported(path, `${found}, expected a base model of ${GGUF_ARCHITECTURES.join(', ')}`);
  }
  const keys = new KeyReader(file);
  const { hiddenSize, numHeads, headDim } = ggufSizes(file);
  const required = (key: string): number => {
    const value = ggufCount(file, `${name}.${key}`);
    if (value === undefined) throw ggufInvalid(path, `has no ${name}.${key}`);
    return value;
  };
  const layers = required('block_count');
  // Families list something for each of them before the configuration is checked as a whole.
  if (layers > LIMITS.layers)
    throw ggufInvalid(path, `${name}.block_count is ${layers}, expected at most ${LIMITS.layers}`);
  const eps = keys.number('attention.layer_norm_rms_epsilon');
  if (eps === undefined) throw ggufInvalid(path, `has no ${name}.attention.layer_norm_rms_epsilon`);
  const ids = specialTokenIds(file);
  const common: JsonObject = {
    model_type: family.modelType,
    hidden_size: hiddenSize,
    intermediate_size: required('feed_forward_length'),
    num_hidden_layers: layers,
    num_attention_heads: numHeads,
    num_key_value_heads: ggufCount(file, `${name}.attention.head_count_kv`) ?? numHeads,
    head_dim: headDim,
    vocab_size: file.info('token_embd.weight').shape[0] ?? 0,
    rms_norm_eps: eps,
    rope_parameters: ropeParametersOf(file, keys),
    max_position_embeddings: required('context_length'),
    tie_word_embeddings: !keys.hasTensor('output.weight'),
    bos_token_id: ids.get('bos') ?? null,
    eos_token_id: ids.get('eos') ?? null,
  };
  const json = { ...common, ...family.gguf.config?.(keys, common) };
  refuseUnsupported(file, keys, headDim);
  const config: ModelConfig = {
    ...parseModelConfig(json, path),
    // llama.cpp adds the biases that are there
    attentionBias: keys.hasTensor('blk.0.attn_q.bias'),
    attentionOutBias: keys.hasTensor('blk.0.attn_output.bias'),
    mlpBias: keys.hasTensor('blk.0.ffn_gate.bias'),
  };
  if (family.gguf.hasRopeFactors && keys.hasTensor(ROPE_FACTORS)) {
    config.ropeScaling = ropeFactorsOf(file, config);
  }
  const { attentionBias, attentionOutBias, mlpBias, ropeTheta, ropeScaling, maxPositionEmbeddings: length } = config;
  // Families' own padding tokens may lie outside a vocabulary, and nothing is padded with them here.
  const others = { attention_bias: attentionBias || attentionOutBias, mlp_bias: mlpBias, pad_token_id: null };
  const factors = ropeScaling?.type === 'factors' && asLongRope(ropeTheta, ropeScaling.factors, length);
  return { config, json: { ...json, ...others, ...factors }, architecture: family.gguf };
}

/** Divisors of the frequencies have no type of their own in config.json: longrope's, the same at every length, are such. */
function asLongRope(rope_theta: number, factors: readonly number[], length: number): JsonObject {
  const same = { short_factor: factors, long_factor: factors, factor: 1, attention_factor: 1 };
  return { rope_parameters: { rope_type: 'longrope', rope_theta, original_max_position_embeddings: length, ...same } };
}

/** Metadata under `<architecture>.`; what has been read is known. */
class KeyReader implements GgufKeys {
  readonly read = new Set<string>();
  readonly #file: GgufFile;

  constructor(file: GgufFile) {
    this.#file = file;
  }

  number(key: string): number | undefined {
    const value = ggufNumber(this.#file, this.#full(key));
    return value === undefined ? undefined : decimalOf(value);
  }

  numbers(key: string): readonly number[] | undefined {
    return ggufNumbers(this.#file, this.#full(key));
  }

  text(key: string): string | undefined {
    return ggufString(this.#file, this.#full(key));
  }

  flag(key: string): boolean | undefined {
    return ggufBool(this.#file, this.#full(key));
  }

  hasTensor(name: string): boolean {
    return this.#file.tensors.has(name);
  }

  tensor(name: string): Float32Array | undefined {
    return this.hasTensor(name) ? this.#file.readF32(name) : undefined;
  }

  #full(key: string): string {
    this.read.add(key);
    return `${this.#file.architecture}.${key}`;
  }
}

/** A float32 stands for the shortest decimal that is stored as it: config.json's own number, for all that people write. */
function decimalOf(stored: number): number {
  if (Number.isInteger(stored)) return stored;
  for (let digits = 1; digits < 9; digits++) {
    const decimal = Number(stored.toPrecision(digits));
    if (Math.fround(decimal) === stored) return decimal;
  }
  return stored;
}

/** Options that would be left out in silence. */
function refuseUnsupported(file: GgufFile, keys: KeyReader, headDim: number): void {
  const found: string[] = [];
  const only = (key: string, expected: number): void => {
    if (keys.read.has(key)) return; // by the architecture's own family
    const value = keys.number(key);
    if (value !== undefined && value !== expected) found.push(`${key} ${value}, expected ${expected}`);
  };
  only('attention.value_length', headDim);
  only('rope.dimension_count', headDim);
  only('rope.scaling.attn_factor', 1);
  for (const key of ALTERING) only(key, 0);
  if (keys.flag('attention.causal') === false) found.push('attention.causal false, expected true');
  if (found.length === 0) return;
  throw ggufUnsupported(file.path, `${file.architecture} with ${found.join('; ')}`);
}
