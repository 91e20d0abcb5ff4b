/**
 * The embedding space of a pool: the kind, and what of the training set is needed to place a new prompt in it.
 * Free of any tensor library, so that `blend` can use it on a device.
 */

import { CrayonError } from '../../core/errors.js';
import { checkFinite, norm, row } from '../../core/vector.js';
import { warn } from '../../core/warning.js';
import { isOfBase } from '../../hf/adapter-record.js';
import type { BaseModel } from '../../hf/base-model.js';
import { nameForOthers } from '../../hf/base-name.js';
import { rememberedBase } from '../base-place.js';
import type { Pool } from '../pool.js';
import type { EmbeddingBase, ForwardPass, InstantEmbed, Sequences } from './kind.js';
import { firstAttention } from './kinds/first-attention.js';
import { embeddingKind, hiddenLayerOf } from './kinds.js';

export interface EmbeddingSpace {
  /** the kind's name */
  kind: string;
  /** embedding size */
  d: number;
  /** (d) mean of the training set's unit embeddings, subtracted before renormalising; null when not centred */
  mean: Float32Array | null;
  /** (V) inverse document frequencies; only for `tfidf` */
  idf: Float32Array | null;
}

const EMBEDDING = 'the embedding of a prompt';

/**
 * Places prompts in a pool's space at once, on a device without a tensor library.
 *
 * @returns a function from prompts to unit rows (n, d); null for the kinds that need a forward pass
 */
export function instantEmbedder(space: EmbeddingSpace, base: EmbeddingBase): InstantEmbed | null {
  const { kind } = embeddingKind(space.kind);
  if (kind.needs === 'forward pass') return null;
  const embed = kind.open(base, space.idf);
  const { d, mean } = space;
  const placed = (rows: Float32Array): Float32Array => {
    checkFinite(rows, EMBEDDING);
    // A prompt without a direction of its own stays zero, instead of taking the mean's.
    for (let i = 0; mean !== null && i < rows.length / d; i++) {
      const one = row(rows, i, d);
      if (norm(one) > 0) centreRows(one, mean);
    }
    return rows;
  };
  const { steps } = embed;
  const instant: InstantEmbed = (prompts) => placed(embed(prompts));
  if (steps !== undefined) {
    instant.steps = function* (ids) {
      return placed(yield* steps(ids));
    };
  }
  return instant;
}

/** The base model's own space, where there is no pool. */
export function firstAttentionSpace({ config }: EmbeddingBase): EmbeddingSpace {
  return { kind: firstAttention.name, d: firstAttention.size(config), mean: null, idf: null };
}

/**
 * Places prompts in a pool's space.
 *
 * @param prompts token ids without BOS
 * @param forward for the kinds that need a forward pass; `bosId` is put before every prompt there
 * @returns (n, d) unit rows
 */
export async function embedInSpace(
  space: EmbeddingSpace,
  base: BaseModel,
  prompts: Sequences,
  forward: ForwardPass & { bosId?: number | null } = {},
): Promise<Float32Array> {
  const instant = instantEmbedder(space, base);
  if (instant !== null) return instant(prompts);
  const layer = hiddenLayerOf(embeddingKind(space.kind), base.config.numLayers)!;
  // Only these kinds pay for a tensor library and the whole model.
  const { embedByForwardPass } = await import('./hidden-states.js');
  const rows = checkFinite(await embedByForwardPass(base, prompts, { bosId: null, ...forward }, { layer }), EMBEDDING);
  if (space.mean !== null) centreRows(rows, space.mean);
  return rows;
}

/** The embedding space that a pool was built in. */
export function poolSpace({ manifest, mean, idf }: Pool): EmbeddingSpace {
  const { kind, dim } = manifest.embedding;
  return { kind, d: dim, mean, idf };
}

/**
 * A base model in the file format that the pool was built on is known by its digests. In the other format nothing but the
 * sizes can be compared: a GGUF is made from a directory by converters and quantisers that leave no trace of its digest, and
 * a pool on one is meant to serve the other.
 *
 * @param anyBase a warning in place of the refusal, where the sizes fit
 * @throws CrayonError `pool-mismatch` when the pool was built on another base model or tokenizer, `pool-invalid` when its
 *   embedding is none that this base model has
 */
export function refuseOtherBase(pool: Pool, model: BaseModel, anyBase = false): void {
  const { base } = pool.manifest;
  const found = isOfBase(base, model);
  if (found === null || (found !== 'same' && anyBase)) {
    refuseOtherSizes(pool, model);
    if (found !== null) warn(`${pool.dir} was built on another base model than ${model.path}; any base was asked for.`);
    return;
  }
  if (found === 'same') {
    refuseImpossibleEmbedding(pool, model);
    return;
  }
  const what = found === 'other tokenizer' ? 'tokenizer' : 'base model';
  throw new CrayonError('pool-mismatch', `${pool.dir} was built on another ${what} than ${model.path}`, {
    hint:
      `Use the model it was built on ("${rememberedBase(base) ?? nameForOthers(base.name)}", digest ${base.digest.slice(0, 12)}), or build a new pool. ` +
      'Where it is the same model stored in another way (another quantisation), --any-base of blend, score and serve-edge (any_base in the YAML of serve-edge and calibrate) takes it; bench measures on the pool’s base alone.',
  });
}

function refuseOtherSizes({ dir, manifest, idf }: Pool, { path, config }: BaseModel): void {
  const named = embeddingKind(manifest.embedding.kind);
  const { numLayers } = config;
  const layer = hiddenLayerOf(named, numLayers) ?? 0;
  const pairs: Array<[string, number, number]> = [
    ['hidden size', config.hiddenSize, manifest.base.hiddenSize],
    idf === null
      ? ['embedding', named.kind.size(config), manifest.embedding.dim]
      : ['vocabulary', config.vocabSize, idf.length],
    ['at least so many layers', numLayers, Math.max(layer, numLayers)],
  ];
  for (const [what, found, expected] of pairs) {
    if (found === expected) continue;
    const problem = `${dir}: built on a model of ${what} ${expected}, ${path} has ${found}`;
    const hint = `Use the model that the pool was built on ("${manifest.base.name}").`;
    throw new CrayonError('pool-mismatch', problem, { hint });
  }
}

/** Only a manifest that was edited says of its own base model what cannot be. */
function refuseImpossibleEmbedding({ dir, manifest, idf }: Pool, { config }: BaseModel): void {
  const { kind: name, dim } = manifest.embedding;
  const named = embeddingKind(name);
  const { numLayers } = config;
  const impossible = (why: string) => new CrayonError('pool-invalid', `${dir}: embedding ${name}${why}`);
  if ((hiddenLayerOf(named, numLayers) ?? 0) > numLayers) {
    throw impossible(`, but the base model has hidden states 0 to ${numLayers}`);
  }
  const size = named.kind.size(config);
  const found = idf === null || idf.length === dim ? dim : idf.length;
  if (found !== size) throw impossible(` of ${found} numbers, expected ${size} on this base model`);
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
