/** Embedding kind `hidden:<layer>`: the mean over the prompt's tokens of one layer's hidden states, L2-normalised. */

import type { ForwardKind } from '../kind.js';

export const hidden: ForwardKind = {
  name: 'hidden:<layer>',
  needs: 'forward pass',
  layer: (_numLayers, given) => given,
  size: ({ hiddenSize }) => hiddenSize,
};

/** Embedding kind `last-hidden`: the mean over the prompt's tokens of the base LLM's last hidden states, L2-normalised. */

export const lastHidden: ForwardKind = {
  name: 'last-hidden',
  needs: 'forward pass',
  layer: (numLayers) => numLayers,
  size: ({ hiddenSize }) => hiddenSize,
};
