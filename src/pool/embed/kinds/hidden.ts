/** Embedding kind `hidden:<layer>`: the mean over the prompt's tokens of one layer's hidden states, L2-normalised. */

import type { ForwardKind } from '../kind.js';

export const hidden: ForwardKind = {
  name: 'hidden:<layer>',
  needs: 'forward pass',
  layer: (_numLayers, given) => given,
  size: ({ hiddenSize }) => hiddenSize,
};
