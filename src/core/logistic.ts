/** Logistic regression by Newton's method (iteratively reweighted least squares), for a handful of features. */

import assert from 'node:assert/strict';
import { dot } from './vector.js';

export interface LogisticModel {
  intercept: number;
  /** one weight for each feature, in the features' own units */
  weights: number[];
}

/** L2 penalty on the weights of the standardised features, not on the intercept; as scikit-learn's C = 1. */
const RIDGE = 1;
const MAX_ITERATIONS = 50;

/** P(y = 1 | x). */
export function logisticProbability({ intercept, weights }: LogisticModel, x: readonly number[]): number {
  const z = weights.reduce((sum, weight, j) => sum + weight * x[j]!, intercept);
  return z >= 0 ? 1 / (1 + Math.exp(-z)) : Math.exp(z) / (1 + Math.exp(z));
}

/**
 * Fits P(y = 1 | x) = sigmoid(intercept + weights . x), minimising the log-loss plus RIDGE/2 |w|^2 over standardised features. A
 * feature that does not vary gets weight 0. With one class only, the intercept is that of one pseudo-example of each class added.
 *
 * @param rows n rows of d finite features
 * @param labels n labels, 0 or 1
 */
export function fitLogistic(rows: ReadonlyArray<readonly number[]>, labels: readonly number[]): LogisticModel {
  const n = rows.length;
  assert(n > 0 && labels.length === n, 'one label for each row, and at least one row');
  const d = rows[0]!.length;
  const positives = labels.reduce((sum, y) => sum + y, 0);
  if (positives === 0 || positives === n) {
    return { intercept: Math.log((positives + 1) / (n - positives + 1)), weights: new Array<number>(d).fill(0) };
  }
  const { means, scales } = moments(rows, d);
  const x = rows.map((row) => Float64Array.of(1, ...row.map((value, j) => (value - means[j]!) / scales[j]!)));
  let beta = new Float64Array(d + 1);
  beta[0] = Math.log(positives / (n - positives));
  for (let i = 0; i < MAX_ITERATIONS; i++) {
    const step = newtonStep(x, labels, beta);
    // A full Newton step may overshoot where the classes are far apart: halve it until the loss falls.
    const before = loss(x, labels, beta);
    let scale = 1;
    let next = beta;
    do {
      next = beta.map((b, j) => b - scale * step[j]!);
      scale /= 2;
    } while (loss(x, labels, next) > before + 1e-12 && scale > 1e-6);
    const moved = Math.max(...next.map((b, j) => Math.abs(b - beta[j]!)));
    beta = next;
    if (moved < 1e-9) break;
  }
  const weights = Array.from(beta.subarray(1), (b, j) => b / scales[j]!);
  return { intercept: beta[0]! - weights.reduce((sum, w, j) => sum + w * means[j]!, 0), weights };
}

/** Means and standard deviations of the columns; a deviation of 0 becomes Infinity, so that the column counts for nothing. */
function moments(rows: ReadonlyArray<readonly number[]>, d: number): { means: number[]; scales: number[] } {
  const n = rows.length;
  const means = Array.from({ length: d }, (_, j) => rows.reduce((sum, row) => sum + row[j]!, 0) / n);
  const scales = means.map((mean, j) => {
    const deviation = Math.sqrt(rows.reduce((sum, row) => sum + (row[j]! - mean) ** 2, 0) / n);
    return deviation > 1e-12 * Math.max(1, Math.abs(mean)) ? deviation : Number.POSITIVE_INFINITY;
  });
  return { means, scales };
}

function loss(x: readonly Float64Array[], labels: readonly number[], beta: Float64Array): number {
  const penalty = (RIDGE / 2) * beta.subarray(1).reduce((sum, b) => sum + b * b, 0);
  return x.reduce((sum, row, i) => {
    const z = dot(row, beta);
    return sum + Math.max(z, 0) - labels[i]! * z + Math.log1p(Math.exp(-Math.abs(z)));
  }, penalty);
}

/** The Newton step: inverse Hessian times gradient. */
function newtonStep(x: readonly Float64Array[], labels: readonly number[], beta: Float64Array): number[] {
  const gradient = Array.from(beta, (b, j) => (j === 0 ? 0 : RIDGE * b));
  const hessian = gradient.map((_, j) => gradient.map((_, k) => (j === k ? (j === 0 ? 1e-9 : RIDGE) : 0)));
  for (const [i, row] of x.entries()) {
    const p = 1 / (1 + Math.exp(-dot(row, beta)));
    const weight = Math.max(p * (1 - p), 1e-12);
    for (let j = 0; j < row.length; j++) {
      gradient[j]! += (p - labels[i]!) * row[j]!;
      for (let k = 0; k < row.length; k++) hessian[j]![k]! += weight * row[j]! * row[k]!;
    }
  }
  return solve(hessian, gradient);
}

/**
 * Gaussian elimination with partial pivoting. Not core/linalg's Cholesky: where features tie (an intercept for each user), the
 * last bit of a weight decides the order of queries, and published curves rest on this one.
 */
function solve(matrix: readonly number[][], right: readonly number[]): number[] {
  const a = matrix.map((row, i) => [...row, right[i]!]);
  const n = a.length;
  for (let i = 0; i < n; i++) {
    let pivot = i;
    for (let r = i + 1; r < n; r++) if (Math.abs(a[r]![i]!) > Math.abs(a[pivot]![i]!)) pivot = r;
    [a[i], a[pivot]] = [a[pivot]!, a[i]!];
    for (let r = i + 1; r < n; r++) {
      const factor = a[r]![i]! / a[i]![i]!;
      for (let c = i; c <= n; c++) a[r]![c] = a[r]![c]! - factor * a[i]![c]!;
    }
  }
  const out = new Array<number>(n).fill(0);
  for (let i = n - 1; i >= 0; i--) {
    let value = a[i]![n]!;
    for (let c = i + 1; c < n; c++) value -= a[i]![c]! * out[c]!;
    out[i] = value / a[i]![i]!;
  }
  return out;
}
