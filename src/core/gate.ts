/** The gate of Crayon (arXiv 2406.07007): alpha_n(x) = softmax_n( cos(q(x), c_n) / tau ), in training, blending and serving. */

import { checkFinite, cosine, type Floats, row } from './vector.js';

/** A row-major matrix of embeddings or centroids. */
export interface Rows {
  data: Floats;
  /** number of rows */
  n: number;
  /** embedding size */
  d: number;
}

/**
 * cos(x, c_n) for every row (n); 0 for a vector of zero, so that the gate of a text with no known word is uniform.
 *
 * @throws CrayonError `numbers-diverged` where one is not finite
 */
export function similaritiesTo(x: Floats, { data, n, d }: Rows): Float64Array {
  const cosines = Float64Array.from({ length: n }, (_, i) => cosine(x, row(data, i, d)));
  return checkFinite(cosines, 'a similarity');
}

/** alpha (N) of the similarities (N): softmax(cos / tau), computed without overflow; sums to 1. */
export function gate(similarities: ArrayLike<number>, tau: number): Float64Array {
  const values = Float64Array.from(similarities);
  const max = values.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  const weights = values.map((v) => Math.exp((v - max) / tau));
  const sum = weights.reduce((a, b) => a + b, 0);
  return weights.map((w) => w / sum);
}
