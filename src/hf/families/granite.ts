/** Granite: `configuration_granite.py`. Llama with factors on embeddings, scores, residuals and logits. */

import { type GgufKeys, LLAMA_BLOCK, type ModelFamily, NO_WINDOW, SILU } from './family.js';
import { LLAMA_ARCHITECTURE, llama } from './llama.js';

export const granite: ModelFamily = {
  modelType: 'granite',
  defaults: { numKvHeads: null, headDim: null, maxPositionEmbeddings: 2048 },
  block: LLAMA_BLOCK,
  activation: SILU,
  biases: llama.biases,
  window: NO_WINDOW,
  scales: (read) => ({
    embeddingScale: read.positive('embedding_multiplier', 1),
    attentionScale: read.positive('attention_multiplier', 1),
    residualScale: read.positive('residual_multiplier', 1),
    logitScale: 1 / read.positive('logits_scaling', 1),
  }),
  gguf: {
    ...LLAMA_ARCHITECTURE,
    name: 'granite',
    metadata: ({ embeddingScale, attentionScale, residualScale, logitScale }) => ({
      'attention.scale': { real: attentionScale! },
      embedding_scale: { real: embeddingScale },
      residual_scale: { real: residualScale },
      logit_scale: { real: 1 / logitScale },
    }),
    // A factor of 0 is none to llama.cpp.
    config: (keys: GgufKeys, { head_dim }) => ({
      attention_multiplier: keys.number('attention.scale') || (head_dim as number) ** -0.5,
      embedding_multiplier: keys.number('embedding_scale') || 1,
      residual_multiplier: keys.number('residual_scale') || 1,
      logits_scaling: keys.number('logit_scale'),
    }),
  },
};
