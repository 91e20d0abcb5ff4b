/**
 * Phi 3 and 4: `configuration_phi3.py`. Llama with queries, keys and values in one matrix, gate and up in another, and heads
 * that may be turned in part.
 */

import type { ConfigReader } from '../config-reader.js';
import { readRope, ropeParameters } from '../rope.js';
import { LLAMA_BLOCK, type ModelFamily, NO_BIAS, type RopeContext, type RopeOfLayers, SILU } from './family.js';

export const phi3: ModelFamily = {
  modelType: 'phi3',
  defaults: { numKvHeads: null, headDim: null, maxPositionEmbeddings: 4096, rmsNormEps: 1e-5 },
  block: {
    ...LLAMA_BLOCK,
    projections: {
      attentionIn: ['self_attn.qkv_proj'],
      attentionOut: 'self_attn.o_proj',
      mlpIn: ['mlp.gate_up_proj'],
      mlpOut: 'mlp.down_proj',
    },
  },
  activation: SILU,
  hasPartialRotary: true,
  biases: NO_BIAS,
  window: (read) => ({
    slidingWindow: read.json.sliding_window === undefined ? null : read.optionalSize('sliding_window', 0),
    slidingLayers: null,
  }),
  rope: phiRope,
  gguf: {
    name: 'phi3',
    reordersHeads: false,
    hasOutBias: false,
    hasRopeFactors: false,
    hasLongRope: true,
    hasWindow: false, // switched off in llama.cpp, whatever the file says (src/models/phi3.cpp)
    modules: { 'self_attn.qkv_proj': 'attn_qkv', 'mlp.gate_up_proj': 'ffn_up' },
    config: (keys, { head_dim, rope_parameters }) => ({
      // head_dim is that of the attention, of which this many numbers are turned
      partial_rotary_factor: (keys.number('rope.dimension_count') ?? (head_dim as number)) / (head_dim as number),
      original_max_position_embeddings: (rope_parameters as Record<string, unknown>).original_max_position_embeddings,
    }),
    differs({ hiddenSize, numHeads, headDim }) {
      return headDim * numHeads === hiddenSize ? [] : ['heads that are not as wide as the hidden size together'];
    },
  },
};

/** transformers knows one scaling of Phi 3, under three names. */
function phiRope(read: ConfigReader, { path, headDim, maxPositionEmbeddings }: RopeContext): RopeOfLayers {
  const values = ropeParameters(read.json);
  const type = values.rope_type ?? values.type;
  const partial = values.partial_rotary_factor ?? read.json.partial_rotary_factor ?? 1;
  const rotaryDim = Math.trunc(headDim * (partial as number));
  if (!(rotaryDim >= 2 && rotaryDim <= headDim && rotaryDim % 2 === 0)) {
    read.bad.push(`partial_rotary_factor is ${JSON.stringify(partial)}, expected an even part of head_dim ${headDim}`);
  }
  const original = read.json.original_max_position_embeddings ?? 4096;
  const around = { path, defaultTheta: 10_000, dim: rotaryDim, maxPositionEmbeddings, original };
  const rope = readRope(
    read,
    { ...values, ...(type === 'su' || type === 'yarn' ? { rope_type: 'longrope' } : {}) },
    around,
  );
  if (rope.ropeScaling !== null && rope.ropeScaling.type !== 'longrope') {
    read.bad.push(`the rope type of phi3 is ${JSON.stringify(type)}, expected default or longrope`);
  }
  return { ...rope, rotaryDim, slidingRope: null, rotaryLayers: null };
}
