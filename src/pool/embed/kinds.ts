/** The kinds of embedding a pool can be built on: a new one is a file of `kinds/` and a line here. */

import { CrayonError } from '../../core/errors.js';
import type { EmbeddingKind } from './kind.js';
import { firstAttention } from './kinds/first-attention.js';
import { hidden, lastHidden } from './kinds/hidden.js';
import { tfidf } from './kinds/tfidf.js';

const KINDS: readonly EmbeddingKind[] = [firstAttention, lastHidden, hidden, tfidf];

const NAMES = KINDS.map(({ name }) => name);

/** For help and hints. */
export const EMBEDDING_NAMES = `${NAMES.slice(0, -1).join(', ')} or ${NAMES.at(-1)}`;

/** The kinds that a device embeds with at once, without the whole model. */
export const INSTANT_NAMES = KINDS.filter((kind) => kind.needs !== 'forward pass').map(({ name }) => name);

/** A kind as a pool names it, and the number in its name. */
export interface NamedKind {
  kind: EmbeddingKind;
  /** the name with its number written plainly: `hidden:2` */
  name: string;
  given: number;
}

/** The kind of that name, or undefined. */
export function findEmbeddingKind(text: string): NamedKind | undefined {
  for (const kind of KINDS) {
    const found = new RegExp(`^${kind.name.replace('<layer>', '(\\d{1,4})')}$`).exec(text);
    if (found === null) continue;
    const given = Number(found[1] ?? 0);
    return { kind, name: kind.name.replace('<layer>', String(given)), given };
  }
  return undefined;
}

/** The kind that a checked manifest names. */
export function embeddingKind(name: string): NamedKind {
  const found = findEmbeddingKind(name);
  if (found === undefined) throw new CrayonError('pool-invalid', `embedding "${name}", expected ${EMBEDDING_NAMES}`);
  return found;
}

/** @throws CrayonError `bad-option` for an unknown kind or a layer that the model does not have */
export function parseEmbeddingKind(text: string, numLayers: number): NamedKind {
  const found = findEmbeddingKind(text);
  if (found === undefined) {
    throw new CrayonError('bad-option', `unknown embedding "${text}"`, { hint: `Use ${EMBEDDING_NAMES}.` });
  }
  if ((hiddenLayerOf(found, numLayers) ?? 0) > numLayers) {
    throw new CrayonError('bad-option', `embedding "${text}", but the base model has hidden states 0 to ${numLayers}`);
  }
  return found;
}

/** The hidden state that the kind reads, or undefined where no forward pass is needed. */
export function hiddenLayerOf({ kind, given }: NamedKind, numLayers: number): number | undefined {
  return kind.needs === 'forward pass' ? kind.layer(numLayers, given) : undefined;
}
