/** Vectors as plain typed arrays: sums in float64 whatever the array's own precision. */

import assert from 'node:assert/strict';
import { CrayonError } from './errors.js';

/** Any array of floats that this module reads; results are always float64. */
export type Floats = Float32Array | Float64Array;

/** Inner product of two vectors of equal length. */
export function dot(x: Floats, y: Floats): number {
  assert.equal(x.length, y.length, 'dot: lengths differ');
  let sum = 0;
  for (let i = 0; i < x.length; i++) sum += x[i]! * y[i]!;
  return sum;
}

/** Euclidean length. */
export function norm(x: Floats): number {
  return Math.sqrt(dot(x, x));
}

/** x / |x| as a new float64 vector; the zero vector stays zero. */
export function normalise(x: Floats): Float64Array {
  const length = norm(x);
  const unit = new Float64Array(x);
  if (length > 0) for (let i = 0; i < unit.length; i++) unit[i]! /= length;
  return unit;
}

/** Cosine of the angle between two vectors, in [-1, 1]; 0 when either is the zero vector, which has no direction. */
export function cosine(x: Floats, y: Floats): number {
  const lengths = norm(x) * norm(y);
  if (lengths === 0) return 0;
  return Math.min(1, Math.max(-1, dot(x, y) / lengths));
}

/** Row `i` of a row-major matrix with `columns` columns, as a view. */
export function row<T extends Floats>(matrix: T, i: number, columns: number): T {
  return matrix.subarray(i * columns, (i + 1) * columns) as T;
}

/** Mean of the rows of a row-major (n, d) matrix. */
export function meanRows(matrix: Floats, n: number, d: number): Float64Array {
  assert.ok(n > 0 && matrix.length === n * d, `meanRows: ${matrix.length} values are not (${n}, ${d})`);
  const mean = new Float64Array(d);
  for (let i = 0; i < n; i++) for (let j = 0; j < d; j++) mean[j]! += matrix[i * d + j]!;
  for (let j = 0; j < d; j++) mean[j]! /= n;
  return mean;
}

/** Index of the largest value; the first one on a tie. */
export function argmax(x: ArrayLike<number>): number {
  let best = 0;
  for (let i = 1; i < x.length; i++) if (x[i]! > x[best]!) best = i;
  return best;
}

/** 1 at one place of (length), 0 elsewhere. */
export function oneHot(index: number, length: number): Float64Array {
  const vector = new Float64Array(length);
  vector[index] = 1;
  return vector;
}

/** Index of the first NaN or infinity in `data`, or -1 when every element is finite. */
export function firstNonFinite(data: Float32Array | Float64Array): number {
  const n = data.length;
  // NaN and infinity survive every addition, and float32 values cannot overflow a float64 sum (float64 values can: then
  // the search below decides). Four sums keep the processor's adders busy.
  let s0 = 0;
  let s1 = 0;
  let s2 = 0;
  let s3 = 0;
  let i = 0;
  for (; i + 3 < n; i += 4) {
    s0 += data[i]!;
    s1 += data[i + 1]!;
    s2 += data[i + 2]!;
    s3 += data[i + 3]!;
  }
  for (; i < n; i++) s0 += data[i]!;
  if (Number.isFinite(s0 + s1 + s2 + s3)) return -1;
  return data.findIndex((x) => !Number.isFinite(x));
}

/**
 * The values as they are. NaN compares as nothing does: a largest one, an order or a share that is made of it is an answer without sense.
 *
 * @param what they are, for the message
 * @throws CrayonError `numbers-diverged` where one is NaN or infinite
 */
export function checkFinite<T extends Floats>(values: T, what: string): T {
  const at = firstNonFinite(values);
  if (at < 0) return values;
  throw new CrayonError('numbers-diverged', `the numbers diverged: ${what} has ${values[at]}`, {
    hint: 'A weight of the model or of the adapter is so large that what is computed with it leaves the range of its type.',
  });
}

/** Whether two are the same numbers, or neither is there. */
export function isSame(x: Floats | null, y: Floats | null): boolean {
  if (x === null || y === null) return x === y;
  return x.length === y.length && x.every((value, i) => value === y[i]);
}
