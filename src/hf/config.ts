/**
 * config.json of the Llama family, in the styles of transformers 4 and 5, turned into one strict type.
 *
 * Defaults are those of the transformers configuration classes (`configuration_llama.py` and its siblings), kept with each
 * family in families/; an option
 * that our forward pass would silently ignore is refused by name.
 */

import { CrayonError } from '../core/errors.js';
import { LIMITS } from '../core/limits.js';
import { warn } from '../core/warning.js';
import { isJsonObject, type JsonObject } from '../files/json.js';
import { ConfigReader } from './config-reader.js';
import { type ModelConfig, type ModelFamily, ropeOfAllLayers } from './families/family.js';
import { findFamily, MODEL_TYPES } from './families.js';
import { ropeParameters } from './rope.js';

export type { ModelConfig } from './families/family.js';
export type { RopeScaling } from './rope.js';

/**
 * Checks and converts a parsed config.json.
 *
 * @throws CrayonError `model-unsupported` for another model type or an unsupported option, `model-invalid` naming every
 *   bad value
 */
export function parseModelConfig(file: JsonObject, path: string): ModelConfig {
  const json = languageModel(file);
  const family = findFamily(json.model_type);
  if (family === undefined) {
    const found = JSON.stringify(json.model_type) ?? 'missing';
    throw new CrayonError('model-unsupported', `${path}: model_type ${found}, expected ${MODEL_TYPES.join(', ')}`, {
      hint: 'Only these dense decoder models are supported.',
    });
  }
  const { modelType, defaults } = family;
  const read = new ConfigReader(json);
  const hiddenSize = read.size('hidden_size');
  const numHeads = read.size('num_attention_heads');
  const kvFallback = json.num_key_value_heads === null ? numHeads : (defaults.numKvHeads ?? numHeads);
  const headDim = read.size('head_dim', defaults.headDim ?? hiddenSize / numHeads);
  const maxPositionEmbeddings = read.size('max_position_embeddings', defaults.maxPositionEmbeddings);
  const config: ModelConfig = {
    modelType,
    hiddenSize,
    intermediateSize: read.size('intermediate_size'),
    numLayers: read.size('num_hidden_layers'),
    numHeads,
    numKvHeads: read.size('num_key_value_heads', kvFallback),
    headDim,
    vocabSize: read.size('vocab_size'),
    rmsNormEps: read.positive('rms_norm_eps', defaults.rmsNormEps ?? 1e-6),
    ...(family.rope ?? ropeOfAllLayers)(read, {
      path,
      headDim,
      maxPositionEmbeddings,
      defaultTheta: defaults.ropeTheta ?? 10_000,
    }),
    maxPositionEmbeddings,
    ...family.window(read),
    tieWordEmbeddings: read.flag('tie_word_embeddings', defaults.tieWordEmbeddings),
    ...family.biases(read),
    embeddingScale: 1,
    attentionScale: null,
    residualScale: 1,
    logitScale: 1,
    ...family.scales?.(read),
    bosTokenId: read.tokenIds('bos_token_id')[0] ?? null,
    eosTokenIds: read.tokenIds('eos_token_id'),
  };
  const { numLayers, numKvHeads, vocabSize, eosTokenIds } = config;
  if (read.bad.length === 0) {
    const beyond = eosTokenIds.find((id) => id >= vocabSize);
    if (beyond !== undefined) read.bad.push(`eos_token_id is ${beyond}, expected below vocab_size ${vocabSize}`);
    if (numLayers > LIMITS.layers)
      read.bad.push(`num_hidden_layers is ${numLayers}, expected at most ${LIMITS.layers}`);
    if (numHeads % numKvHeads !== 0) {
      read.bad.push(`num_attention_heads ${numHeads} is not a multiple of num_key_value_heads ${numKvHeads}`);
    }
    if (headDim % 2 !== 0) read.bad.push(`head_dim is ${headDim}, expected an even number`);
  }
  if (read.bad.length > 0) {
    throw new CrayonError('model-invalid', `${path}: ${read.bad.join('; ')}`, {
      hint: 'Compare the file with the one that the model was published with: a key may have been lost or mistyped.',
    });
  }
  warnOfTwoRopes(json, path);
  refuseUnsupported(family, json, path);
  return config;
}

/** What a user added by hand may not mean what transformers, and we, make of it: the older key wins, theta and all. */
function warnOfTwoRopes({ rope_scaling: scaling, rope_parameters: parameters, rope_theta }: JsonObject, path: string) {
  if (!isJsonObject(scaling) || !isJsonObject(parameters) || Object.keys(scaling).length === 0) return;
  const isSame = (key: string) => JSON.stringify(scaling[key]) === JSON.stringify(parameters[key]);
  if (Object.keys(parameters).every(isSame)) return;
  const theta = scaling.rope_theta === undefined && rope_theta === undefined && parameters.rope_theta !== undefined;
  warn(
    `${path}: has rope_scaling and rope_parameters, which differ. As in transformers, rope_scaling counts` +
      `${theta ? `, and the rope_theta ${JSON.stringify(parameters.rope_theta)} of rope_parameters does not` : ''}: ` +
      'leave out one of them.',
  );
}

/** The part of a config.json that speaks of the language model: all of it, or Gemma 3's `text_config`. */
function languageModel(json: JsonObject): JsonObject {
  const { model_type: type, text_config: text } = json;
  return type === 'gemma3' && isJsonObject(text) ? { model_type: 'gemma3_text', ...text } : json;
}

function refuseUnsupported(family: ModelFamily, json: JsonObject, path: string): void {
  const found = family.unsupported?.(json) ?? [];
  const { quantization_config: quantization } = json;
  const { key, names } = family.activation;
  const act = json[key] ?? names[0];
  if (!names.includes(act as string))
    found.push(`${key} ${JSON.stringify(act)}, expected ${names.map((n) => `"${n}"`).join(' or ')}`);
  const isQuantised = quantization !== undefined && quantization !== null;
  if (isQuantised) found.push('quantised weights (quantization_config)');
  const partial = ropeParameters(json).partial_rotary_factor ?? json.partial_rotary_factor ?? 1;
  if (partial !== 1 && !family.hasPartialRotary) {
    found.push(`partial_rotary_factor ${JSON.stringify(partial)}, expected 1`);
  }
  if (found.length === 0) return;
  throw new CrayonError('model-unsupported', `${path}: unsupported: ${found.join('; ')}`, {
    hint: isQuantised
      ? 'Use the float16, bfloat16 or float32 version of the model, or a GGUF of it.'
      : 'The forward pass does not have it, and leaving it out would give other answers: use a model without it.',
  });
}
