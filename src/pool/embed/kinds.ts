/** The kinds of embedding a pool can be built on. */

import { CrayonError } from '../../core/errors.js';

export type EmbeddingKind = 'first-attention' | 'last-hidden' | 'tfidf' | `hidden:${number}`;

/** @throws CrayonError `bad-option` for an unknown kind or a layer that the model does not have */
export function parseEmbeddingKind(text: string, numLayers: number): EmbeddingKind {
  if (text === 'first-attention' || text === 'last-hidden' || text === 'tfidf') return text;
  const layer = /^hidden:(\d{1,4})$/.exec(text)?.[1];
  if (layer === undefined) {
    throw new CrayonError('bad-option', `unknown embedding "${text}"`, {
      hint: 'Use first-attention, last-hidden, hidden:<layer> or tfidf.',
    });
  }
  if (Number(layer) > numLayers) {
    throw new CrayonError('bad-option', `embedding "${text}", but the base model has hidden states 0 to ${numLayers}`);
  }
  return `hidden:${Number(layer)}`;
}

/** The hidden state that the kind reads, or undefined where no forward pass is needed. */
export function hiddenLayerOf(kind: EmbeddingKind, numLayers: number): number | undefined {
  if (kind === 'last-hidden') return numLayers;
  return kind.startsWith('hidden:') ? Number(kind.slice('hidden:'.length)) : undefined;
}
