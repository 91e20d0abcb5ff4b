/** Qwen 3: `configuration_qwen3.py`. */

import { LLAMA_BLOCK, type ModelFamily, SILU } from './family.js';
import { qwenWindow } from './qwen2.js';

export const qwen3: ModelFamily = {
  modelType: 'qwen3',
  defaults: { numKvHeads: 32, headDim: 128, maxPositionEmbeddings: 32_768 },
  block: { ...LLAMA_BLOCK, qkNorm: 'head' },
  activation: SILU,
  biases(read) {
    const bias = read.flag('attention_bias');
    return { attentionBias: bias, attentionOutBias: bias, mlpBias: false };
  },
  window: qwenWindow,
  gguf: {
    name: 'qwen3',
    reordersHeads: false,
    hasOutBias: false,
    hasRopeFactors: false,
    hasLongRope: false,
    hasWindow: false,
  },
};
