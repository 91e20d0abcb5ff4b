/** Mistral: `configuration_mistral.py`. llama.cpp runs it as Llama. */

import type { ModelFamily } from './family.js';
import { LLAMA_ARCHITECTURE } from './llama.js';

export const mistral: ModelFamily = {
  modelType: 'mistral',
  defaults: { numKvHeads: 8, headDim: null, maxPositionEmbeddings: 32_768 },
  qkNorm: false,
  biases: () => ({ attentionBias: false, attentionOutBias: false, mlpBias: false }),
  slidingWindow: (read) => read.optionalSize('sliding_window', 4096),
  gguf: LLAMA_ARCHITECTURE,
};
