/** Llama: `configuration_llama.py`. */

import { type GgufArchitecture, LLAMA_BLOCK, type ModelFamily, NO_WINDOW, SILU } from './family.js';

export const LLAMA_ARCHITECTURE: GgufArchitecture = {
  name: 'llama',
  reordersHeads: true,
  hasOutBias: true,
  hasRopeFactors: true,
  hasLongRope: true,
  hasWindow: false,
};

export const llama: ModelFamily = {
  modelType: 'llama',
  defaults: { numKvHeads: null, headDim: null, maxPositionEmbeddings: 2048 },
  block: LLAMA_BLOCK,
  activation: SILU,
  biases(read) {
    const bias = read.flag('attention_bias');
    return { attentionBias: bias, attentionOutBias: bias, mlpBias: read.flag('mlp_bias') };
  },
  window: NO_WINDOW,
  gguf: LLAMA_ARCHITECTURE,
};
