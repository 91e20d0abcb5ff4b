/**
 * The R of a thin orthogonal factorisation of a stack of vectors: M = Q R, where M (n, k) has the stack's vectors as its columns. Q is
 * never needed: what it would be multiplied with is a combination of the vectors themselves.
 *
 * Three ways, chosen by what the data allow:
 * - n <= k: Q is the identity and R is M itself, at no cost;
 * - well-conditioned columns: "Cholesky QR", R from the Gram matrix, whose products run at full register-block speed;
 *   its loss of orthogonality is about epsilon x condition^2 (Yamamoto et al. 2015, "Roundoff error analysis of the
 *   CholeskyQR2 algorithm"), bounded here by the pivot test;
 * - anything else, such as adapters that share a frozen A: Householder reflections, which need no rank at all
 *   (Golub & Van Loan, Matrix Computations, 5.2.2). Slower, and exact to rounding for every input.
 */
import { cholesky, gram } from './products.js';

/** Smallest squared sine between a column and the span of its predecessors for which the Gram matrix is trusted. */
const CHOLESKY_PIVOT = 1e-6;

export interface ThinQr {
  /** Rows of R, min(n, k). */
  p: number;
  /** R, row-major (p, k). */
  r: Float64Array;
  /** Which of the three ways was taken. */
  method: 'identity' | 'cholesky' | 'householder';
}

/** Factorises the (n, k) matrix whose columns are the vectors of `x`, a stack (k, n). */
export function thinQr(x: Float64Array, k: number, n: number): ThinQr {
  if (n <= k) return { p: n, r: transpose(x, k, n), method: 'identity' };
  const l = cholesky(gram(x, k, n), k, CHOLESKY_PIVOT);
  return l === null ? householderQr(x, k, n) : { p: k, r: transpose(l, k, k), method: 'cholesky' };
}

/** Householder QR of the same matrix, n > k; any rank. */
export function householderQr(x: Float64Array, k: number, n: number): ThinQr {
  const v = Float64Array.from(x); // becomes the reflectors: I - beta_j v_j v_j^T acts on entries j..n-1
  const beta = new Float64Array(k);
  const r = new Float64Array(k * k);
  for (let j = 0; j < k; j++) {
    beta[j] = makeReflector(v, j * n + j, n - j, r, j * k + j);
    for (let c = j + 1; c < k; c++) {
      reflect(v, j * n + j, beta[j]!, v, c * n + j, n - j);
      r[j * k + c] = v[c * n + j]!;
    }
  }
  return { p: k, r, method: 'householder' };
}

/**
 * Turns the `length` entries of `x` from `at` into the vector v of a reflection I - beta v v^T that maps them onto a multiple of
 * the first axis; that multiple is stored in `image[imageAt]`. Returns beta (0 when there is nothing to reflect).
 */
export function makeReflector(
  x: Float64Array,
  at: number,
  length: number,
  image: Float64Array,
  imageAt: number,
): number {
  let largest = 0;
  for (let t = at; t < at + length; t++) largest = Math.max(largest, Math.abs(x[t]!));
  if (largest === 0) {
    image[imageAt] = 0;
    return 0;
  }
  // scaled by the largest entry, so that squares neither overflow nor vanish
  let sum = 0;
  for (let t = at; t < at + length; t++) {
    x[t]! /= largest;
    sum += x[t]! * x[t]!;
  }
  const alpha = x[at]! > 0 ? -Math.sqrt(sum) : Math.sqrt(sum); // the sign that adds, and so cancels nothing
  const beta = 1 / (sum - alpha * x[at]!);
  x[at]! -= alpha;
  image[imageAt] = alpha * largest;
  return beta;
}

/** y <- (I - beta v v^T) y over `length` entries. */
export function reflect(
  v: Float64Array,
  vAt: number,
  beta: number,
  y: Float64Array,
  yAt: number,
  length: number,
): void {
  if (beta === 0) return;
  let sum = 0;
  for (let t = 0; t < length; t++) sum += v[vAt + t]! * y[yAt + t]!;
  sum *= beta;
  for (let t = 0; t < length; t++) y[yAt + t]! -= sum * v[vAt + t]!;
}

/** Transpose of a row-major (rows, columns) matrix. */
export function transpose(x: Float64Array, rows: number, columns: number): Float64Array {
  const t = new Float64Array(x.length);
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) t[j * rows + i] = x[i * columns + j]!;
  return t;
}
