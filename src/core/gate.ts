/** The gate of Crayon (arXiv 2406.07007): alpha_n(x) = softmax_n( cos(q(x), c_n) / tau ), in training, blending and serving. */

import { CrayonError } from './errors.js';
import { checkFinite, cosine, type Floats, norm, row } from './vector.js';

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
 * Of a text's tf-idf all but some hundred numbers are zero, in a vocabulary of 150,000: those are passed over, which changes no bit.
 *
 * @param norms of the rows (n), where many vectors are compared with them
 * @throws CrayonError `numbers-diverged` where one is not finite
 */
export function similaritiesTo(x: Floats, rows: Rows, norms: Float64Array = rowNorms(rows)): Float64Array {
  const { data, n, d } = rows;
  const places = fewPlaces(x);
  const length = norm(x);
  const cosines = Float64Array.from({ length: n }, (_, i) => {
    const lengths = length * norms[i]!;
    if (places === null || !(lengths > 0 && lengths < Number.POSITIVE_INFINITY)) return cosine(x, row(data, i, d));
    let sum = 0;
    for (const at of places) sum += x[at]! * data[i * d + at]!;
    return Math.min(1, Math.max(-1, sum / lengths));
  });
  return checkFinite(cosines, 'a similarity');
}

/** Lengths of rows (n). */
export function rowNorms({ data, n, d }: Rows): Float64Array {
  return Float64Array.from({ length: n }, (_, i) => norm(row(data, i, d)));
}

/** The places of what is not zero, where they are few. */
function fewPlaces(x: Floats): Uint32Array | null {
  let count = 0;
  for (let i = 0; i < x.length; i++) if (x[i] !== 0) count++;
  if (4 * count > x.length) return null;
  const places = new Uint32Array(count);
  for (let i = 0, at = 0; i < x.length; i++) if (x[i] !== 0) places[at++] = i;
  return places;
}

/** alpha (N) of the similarities (N): softmax(cos / tau), computed without overflow; sums to 1. */
export function gate(similarities: ArrayLike<number>, tau: number): Float64Array {
  const values = Float64Array.from(similarities);
  const max = values.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  const weights = values.map((v) => Math.exp((v - max) / tau));
  const sum = weights.reduce((a, b) => a + b, 0);
  return weights.map((w) => w / sum);
}

/**
 * The k largest coefficients, scaled to keep the sum; the rest zero. Of equal ones the first is kept. By size, not by sign.
 *
 * @throws CrayonError `bad-option` unless 1 <= k <= N
 */
export function keepLargest(coefficients: Float64Array, k: number): Float64Array {
  const count = coefficients.length;
  if (!Number.isSafeInteger(k) || k < 1 || k > count) {
    throw new CrayonError('bad-option', `top-k ${k}, expected a whole number from 1 to ${count}`);
  }
  if (k === count) return coefficients;
  const order = Array.from(coefficients.keys());
  order.sort((i, j) => Math.abs(coefficients[j]!) - Math.abs(coefficients[i]!) || i - j);
  const kept = new Set(order.slice(0, k));
  return keepSum(coefficients, (_, i) => kept.has(i));
}

/** Coefficients below a share of the largest are zero, the others scaled to keep the sum. By size, not by sign. @param share 0 to 1 */
export function dropSmall(coefficients: Float64Array, share: number): Float64Array {
  const least = share * coefficients.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  return keepSum(coefficients, (value) => Math.abs(value) >= least);
}

/** What is applied of a mixture where each adapter costs time at every token. */
export interface Few {
  /** the largest so many, all where there are no more; null: all */
  topK: number | null;
  /** of these, what is not below this share of the largest */
  dropBelow: number;
}

/** The others are zero, and those that are kept have their weight. */
export function keepFew(coefficients: Float64Array, { topK, dropBelow }: Few): Float64Array {
  const { length } = coefficients;
  const largest = topK === null || topK >= length ? coefficients : keepLargest(coefficients, topK);
  return dropBelow > 0 ? dropSmall(largest, dropBelow) : largest;
}

/** Those that are kept, scaled to the sum of all; the rest zero. */
function keepSum(coefficients: Float64Array, isKept: (value: number, n: number) => boolean): Float64Array {
  const result = coefficients.map((value, n) => (isKept(value, n) ? value : 0));
  const factor = sum(coefficients) / sum(result);
  // numbers given with both signs may cancel: then there is nothing sensible to scale by
  return Number.isFinite(factor) && factor > 0 ? result.map((value) => value * factor) : result;
}

function sum(x: Float64Array): number {
  return x.reduce((total, value) => total + value, 0);
}
