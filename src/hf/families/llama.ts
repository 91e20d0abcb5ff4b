/** Llama: `configuration_llama.py`. */

import type { GgufArchitecture, ModelFamily } from './family.js';

export const LLAMA_ARCHITECTURE: GgufArchitecture = {
  name: 'llama',
  reordersHeads: true,
  hasOutBias: true,
  hasRopeFactors: true,
};

export const llama: ModelFamily = {
  modelType: 'llama',
  defaults: { numKvHeads: null, headDim: null, maxPositionEmbeddings: 2048 },
  qkNorm: false,
  biases(read) {
    const bias = read.flag('attention_bias');
    return { attentionBias: bias, attentionOutBias: bias, mlpBias: read.flag('mlp_bias') };
  },
  slidingWindow: () => null,
  gguf: LLAMA_ARCHITECTURE,
};
