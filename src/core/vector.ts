/**
 * Vectors as plain typed arrays: sums in float64 whatever the array's own precision.
 */
import assert from 'node:assert/strict';

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
  const unit = Float64Array.from(x);
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
