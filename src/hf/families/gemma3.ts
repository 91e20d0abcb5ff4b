/**
 * Gemma 3's language model: `configuration_gemma3.py`, `modeling_gemma3.py`. Five layers of six see a window and turn by a
 * rotary embedding of their own; every norm multiplies by 1 + weight; embeddings are scaled by the root of their size, in
 * float32 here as everywhere (transformers rounds the root to bfloat16 where it computes in bfloat16).
 */

import { CrayonError } from '../../core/errors.js';
import { LIMITS } from '../../core/limits.js';
import { isJsonObject, type JsonObject } from '../../files/json.js';
import type { ConfigReader } from '../config-reader.js';
import { readRope } from '../rope.js';
import {
  type GgufHyperparameters,
  type GgufKeys,
  LLAMA_BLOCK,
  type ModelFamily,
  type RopeContext,
  type RopeOfLayers,
} from './family.js';

/** Every sixth layer sees everything: transformers' defaults, and what llama.cpp computes (src/models/gemma3.cpp). */
const PATTERN = 6;
const LOCAL_THETA = 10_000;
/** By which llama.cpp knows the one model whose attention is scaled by hidden size / heads. */
const LAYERS_OF_27B = 62;

export const gemma3: ModelFamily = {
  modelType: 'gemma3_text',
  defaults: {
    numKvHeads: 4,
    headDim: 256,
    maxPositionEmbeddings: 131_072,
    tieWordEmbeddings: true,
    ropeTheta: 1_000_000,
  },
  block: {
    ...LLAMA_BLOCK,
    norms: {
      attentionIn: 'input_layernorm',
      attentionOut: 'post_attention_layernorm',
      mlpIn: 'pre_feedforward_layernorm',
      mlpOut: 'post_feedforward_layernorm',
    },
    normOffset: 1,
    qkNorm: 'head',
    activation: 'gelu-tanh',
  },
  // transformers' other names compute the same
  activation: {
    key: 'hidden_activation',
    names: ['gelu_pytorch_tanh', 'gelu_new', 'gelu_fast', 'gelu_accurate', 'gelu_python_tanh'],
  },
  biases(read) {
    const bias = read.flag('attention_bias');
    return { attentionBias: bias, attentionOutBias: bias, mlpBias: false };
  },
  window: (read) => ({ slidingWindow: read.optionalSize('sliding_window', 4096), slidingLayers: slidingLayers(read) }),
  rope: gemmaRope,
  scales: (read) => ({
    embeddingScale: Math.fround(Math.sqrt(read.size('hidden_size'))),
    attentionScale: read.positive('query_pre_attn_scalar', 256) ** -0.5,
  }),
  unsupported({
    attn_logit_softcapping: ofScores,
    final_logit_softcapping: ofLogits,
    use_bidirectional_attention: both,
  }) {
    const found: string[] = [];
    if (ofScores !== undefined && ofScores !== null) found.push(`attn_logit_softcapping ${JSON.stringify(ofScores)}`);
    if (ofLogits !== undefined && ofLogits !== null) found.push(`final_logit_softcapping ${JSON.stringify(ofLogits)}`);
    if (both === true || both === 'all') found.push('use_bidirectional_attention');
    return found;
  },
  gguf: {
    name: 'gemma3',
    reordersHeads: false,
    hasOutBias: false,
    hasRopeFactors: false,
    hasLongRope: false,
    hasWindow: true,
    normOffset: 1,
    modules: {
      post_attention_layernorm: 'post_attention_norm',
      pre_feedforward_layernorm: 'ffn_norm',
      post_feedforward_layernorm: 'post_ffw_norm',
    },
    config: ggufConfig,
    metadata: ({ slidingWindow, slidingLayers: layers, slidingRope }): GgufHyperparameters => {
      if (slidingWindow === null || !layers!.includes(true)) return {}; // llama.cpp goes by the window's presence
      return {
        'rope.freq_base_swa': { real: slidingRope!.ropeTheta },
        'attention.sliding_window': { whole: slidingWindow },
      };
    },
    differs({
      ropeScaling,
      numLayers,
      hiddenSize,
      numHeads,
      headDim,
      attentionScale,
      slidingWindow,
      slidingLayers: layers,
      slidingRope,
    }) {
      const found: string[] = [];
      const scalar = numLayers === LAYERS_OF_27B ? hiddenSize / numHeads : headDim;
      if (Math.abs(attentionScale! * Math.sqrt(scalar) - 1) > 1e-6) {
        found.push(`query_pre_attn_scalar ${Math.round(attentionScale! ** -2)}, where it takes ${scalar},`);
      }
      if (layers!.every((isSliding) => !isSliding) || slidingWindow === null) return found;
      if (layers!.some((isSliding, i) => isSliding !== ((i + 1) % PATTERN !== 0))) {
        found.push(`layer_types other than five with a window before each full one`);
      }
      if (ropeScaling?.type === 'yarn') found.push('rope type yarn on some layers only');
      if (slidingRope!.ropeScaling !== null) found.push('rope scaling on layers with a window');
      if (slidingRope!.ropeTheta !== LOCAL_THETA)
        found.push(`a rope theta of ${slidingRope!.ropeTheta} on layers with a window`);
      return found;
    },
  },
};

/** What llama.cpp takes from its file, or has built in. */
function ggufConfig(
  keys: GgufKeys,
  { hidden_size, num_hidden_layers, num_attention_heads, head_dim, rope_parameters }: JsonObject,
) {
  const window = keys.number('attention.sliding_window') ?? 0;
  const pattern = keys.number('attention.sliding_window_pattern') ?? PATTERN;
  const layers = num_hidden_layers as number;
  const isFull = (i: number) => window === 0 || (i + 1) % pattern === 0;
  return {
    query_pre_attn_scalar:
      layers === LAYERS_OF_27B ? (hidden_size as number) / (num_attention_heads as number) : head_dim,
    sliding_window: window === 0 ? null : window,
    layer_types: Array.from({ length: layers }, (_, i) => (isFull(i) ? 'full_attention' : 'sliding_attention')),
    rope_parameters: {
      full_attention: rope_parameters,
      sliding_attention: { rope_theta: keys.number('rope.freq_base_swa') ?? LOCAL_THETA },
    },
  };
}

/** `layer_types`, or every n-th layer full by `sliding_window_pattern`. */
function slidingLayers(read: ConfigReader): boolean[] {
  const pattern = read.size('sliding_window_pattern', PATTERN);
  const layers = Math.min(read.size('num_hidden_layers'), LIMITS.layers);
  return read.slidingLayers() ?? Array.from({ length: layers }, (_, i) => (i + 1) % pattern !== 0);
}

/** `rope_parameters` by kind of layer, or transformers 4's `rope_theta`, `rope_scaling` (full layers), `rope_local_base_freq`. */
function gemmaRope(
  read: ConfigReader,
  { path, headDim, maxPositionEmbeddings, defaultTheta }: RopeContext,
): RopeOfLayers {
  const { rope_parameters: given, rope_scaling: scaling, rope_theta, rope_local_base_freq } = read.json;
  const parameters = isJsonObject(given) ? given : {};
  const { full_attention: full, sliding_attention: sliding, ...rest } = parameters;
  if (Object.keys(rest).length > 0) {
    throw new CrayonError('model-unsupported', `${path}: rope_parameters with ${Object.keys(rest).join(', ')}`, {
      hint: 'Gemma 3 has rope_parameters for full_attention and for sliding_attention.',
    });
  }
  const ofFull = { rope_theta, ...(isJsonObject(full) ? full : {}), ...(isJsonObject(scaling) ? scaling : {}) };
  const ofSliding = { rope_theta: rope_local_base_freq, ...(isJsonObject(sliding) ? sliding : {}) };
  const around = { path, dim: headDim, maxPositionEmbeddings };
  return {
    ...readRope(read, ofFull, { ...around, defaultTheta }),
    slidingRope: readRope(read, ofSliding, { ...around, defaultTheta: LOCAL_THETA }),
    rotaryDim: headDim,
    rotaryLayers: null,
  };
}
