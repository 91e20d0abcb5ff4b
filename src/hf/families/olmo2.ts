/** OLMo 2: `configuration_olmo2.py`. Norms stand after attention and feed-forward alone, and over all query or key heads. */

import { LLAMA_BLOCK, type ModelFamily, NO_WINDOW, SILU } from './family.js';

export const olmo2: ModelFamily = {
  modelType: 'olmo2',
  defaults: { numKvHeads: null, headDim: null, maxPositionEmbeddings: 2048, rmsNormEps: 1e-5 },
  block: {
    ...LLAMA_BLOCK,
    norms: {
      attentionIn: null,
      attentionOut: 'post_attention_layernorm',
      mlpIn: null,
      mlpOut: 'post_feedforward_layernorm',
    },
    qkNorm: 'width',
  },
  activation: SILU,
  biases(read) {
    const bias = read.flag('attention_bias');
    return { attentionBias: bias, attentionOutBias: bias, mlpBias: false };
  },
  window: NO_WINDOW,
  unsupported: ({ sliding_window: window }) => (window ? ['sliding_window, which is OLMo 3'] : []),
  gguf: {
    name: 'olmo2',
    reordersHeads: false,
    hasOutBias: false,
    hasRopeFactors: false,
    hasLongRope: false,
    hasWindow: false,
    config: (keys) => ({ sliding_window: keys.number('attention.sliding_window') ?? 0 }), // llama.cpp's OLMo 3 is of this name
    modules: { post_attention_layernorm: 'post_attention_norm', post_feedforward_layernorm: 'post_ffw_norm' },
    differs({ hiddenSize, numHeads, headDim, tieWordEmbeddings }) {
      return [
        ...(headDim * numHeads === hiddenSize ? [] : ['heads that are not as wide as the hidden size together']),
        ...(tieWordEmbeddings ? ['tied embeddings'] : []),
      ];
    },
  },
};
