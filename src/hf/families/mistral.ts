/** Mistral: `configuration_mistral.py`. llama.cpp runs it as Llama. */

import { LLAMA_BLOCK, type ModelFamily, NO_BIAS, SILU } from './family.js';
import { LLAMA_ARCHITECTURE } from './llama.js';

export const mistral: ModelFamily = {
  modelType: 'mistral',
  defaults: { numKvHeads: 8, headDim: null, maxPositionEmbeddings: 131_072 },
  block: LLAMA_BLOCK,
  activation: SILU,
  biases: NO_BIAS,
  window: (read) => ({ slidingWindow: read.optionalSize('sliding_window', 4096), slidingLayers: null }),
  gguf: LLAMA_ARCHITECTURE,
};
