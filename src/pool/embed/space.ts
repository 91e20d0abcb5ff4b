/**
 * The embedding space of a pool: the kind, and what of the training set is needed to place a new prompt in it.
 * Free of any tensor library, so that `blend` can use it on a device.
 */

import assert from 'node:assert/strict';
import { CrayonError } from '../../core/errors.js';
import type { HfModel } from '../../hf/model.js';
import type { Pool } from '../pool.js';
import { firstAttentionEmbedder } from './first-attention.js';
import type { EmbeddingBase } from './first-attention-source.js';
import { type EmbeddingKind, hiddenLayerOf } from './kinds.js';
import { tfidfDense } from './tfidf.js';

export interface EmbeddingSpace {
  kind: EmbeddingKind;
  /** embedding size */
  d: number;
  /** (d) mean of the training set's unit embeddings, subtracted before renormalising; null when not centred */
  mean: Float32Array | null;
  /** (V) inverse document frequencies; only for `tfidf` */
  idf: Float32Array | null;
}

/** A forward pass for the kinds that need one: token sequences without BOS -> (n, d) unit embeddings, not centred. */
export type HiddenStateEmbedder = (sequences: ReadonlyArray<Int32Array>) => Promise<Float32Array>;

/**
 * Places prompts in a pool's space.
 *
 * @param sequences prompt token ids without BOS
 * @param hidden needed for `last-hidden` and `hidden:<layer>` only
 * @returns (n, d) unit rows
 */
export async function embedInSpace(
  space: EmbeddingSpace,
  model: EmbeddingBase,
  sequences: ReadonlyArray<Int32Array>,
  hidden?: HiddenStateEmbedder,
): Promise<Float32Array> {
  let rows: Float32Array;
  if (space.kind === 'tfidf') {
    assert(space.idf !== null, 'a tfidf space has document frequencies');
    rows = tfidfDense(sequences, space.idf);
  } else if (space.kind === 'first-attention') {
    rows = firstAttentionEmbedder(model).embed(sequences);
  } else {
    assert(hidden !== undefined, `embedding kind ${space.kind} needs a forward pass`);
    rows = await hidden(sequences);
  }
  if (space.mean !== null) centreRows(rows, space.mean);
  return rows;
}

/** The embedding space that a pool was built in. */
export function poolSpace({ manifest, mean, idf }: Pool): EmbeddingSpace {
  const { kind, dim } = manifest.embedding;
  return { kind: kind as EmbeddingKind, d: dim, mean, idf };
}

/**
 * @throws CrayonError `pool-mismatch` when the pool was built on another base model or tokenizer, `pool-invalid` when its
 *   embedding is none that this base model has
 */
export function refuseOtherBase(pool: Pool, model: HfModel): void {
  const { base } = pool.manifest;
  const found = model.digest();
  if (found === base.digest && model.tokenizerDigest() === base.tokenizerDigest) {
    refuseImpossibleEmbedding(pool, model);
    return;
  }
  const what = found === base.digest ? 'tokenizer' : 'base model';
  throw new CrayonError('pool-mismatch', `${pool.dir} was built on another ${what} than ${model.dir}`, {
    hint: `Use the model it was built on ("${base.name}", digest ${base.digest.slice(0, 12)}), or build a new pool.`,
  });
}

/** Only a manifest that was edited says of its own base model what cannot be. */
function refuseImpossibleEmbedding({ dir, manifest, idf }: Pool, { config }: HfModel): void {
  const { kind, dim } = manifest.embedding;
  const layer = hiddenLayerOf(kind as EmbeddingKind, config.numLayers);
  if (layer !== undefined && layer > config.numLayers) {
    throw new CrayonError(
      'pool-invalid',
      `${dir}: embedding ${kind}, but the base model has hidden states 0 to ${config.numLayers}`,
    );
  }
  const attention = config.numHeads * config.headDim;
  const size = kind === 'tfidf' ? config.vocabSize : layer === undefined ? attention : config.hiddenSize;
  const found = idf === null || idf.length === dim ? dim : idf.length;
  if (found === size) return;
  throw new CrayonError(
    'pool-invalid',
    `${dir}: embedding ${kind} of ${found} numbers, expected ${size} on this base model`,
  );
}

/** Subtracts the mean from every row and makes it a unit vector again, in place. */
export function centreRows(rows: Float32Array, mean: Float32Array): void {
  const d = mean.length;
  for (let from = 0; from < rows.length; from += d) {
    let square = 0;
    for (let j = 0; j < d; j++) {
      const value = rows[from + j]! - mean[j]!;
      rows[from + j] = value;
      square += value * value;
    }
    const inverse = square > 0 ? 1 / Math.sqrt(square) : 0;
    for (let j = 0; j < d; j++) rows[from + j] = rows[from + j]! * inverse;
  }
}
