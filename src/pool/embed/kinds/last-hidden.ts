/** Embedding kind `last-hidden`: the mean over the prompt's tokens of the base LLM's last hidden states, L2-normalised. */

import type { ForwardKind } from '../kind.js';

export const lastHidden: ForwardKind = {
  name: 'last-hidden',
  needs: 'forward pass',
  layer: (numLayers) => numLayers,
  size: ({ hiddenSize }) => hiddenSize,
};
