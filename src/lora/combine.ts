/**
 * One LoRA module out of several: the delta of a blend is sum_n alpha_n s_n B_n A_n.
 *
 * - `cat`: stacked factors, exact, rank sum r_n (PEFT's `cat`; the scale is folded into B here, into A there).
 * - `svd`: the best approximation of a given rank (Eckart & Young 1936), from the thin factors alone: with
 *   B D = Q_B R_B and A^T = Q_A R_A the delta is Q_B (R_B R_A^T) Q_A^T, so only a (sum r, sum r) core is decomposed. PEFT's `svd`
 *   builds the dense (out, in) delta and decomposes that; the results are the same delta.
 * - `linear`: sums of factors, as in LoRAHub (arXiv 2307.13269). Not the same delta: it has cross terms B_i A_j.
 *
 * Here only arrays; files are the business of blend/.
 */

import { combineVectors, multiplyTransposed } from '../core/linalg/products.js';
import { transpose } from '../core/linalg/qr.js';
import { topSvd } from '../core/linalg/svd.js';
import {
  assertFactors,
  gramOf,
  type LoraFactors,
  type ModuleShape,
  type Stack,
  type StackTriangles,
  stackFactors,
  triangleOf,
} from './stack.js';

export type { LoraFactors, ModuleShape, StackTriangles } from './stack.js';

/** A blend of several: delta W = B A, every scale folded into the factors. */
export interface CombinedFactors extends Omit<LoraFactors, 'scale'> {
  /** Components that are not zero; the rest of the r is padding. */
  effectiveRank: number;
  /** |B A - sum_n alpha_n s_n B_n A_n| / |sum_n alpha_n s_n B_n A_n| (Frobenius), before rounding to float32; 0 for a zero sum. */
  relativeError: number;
}

/** How several adapters become one; `linear` is not the same delta. */
export type CombineKind = 'cat' | 'svd' | 'linear';

/**
 * Writes rows [start, end) of `weight` . B (out, r) into columns [column, column + r) of a row-major (out, width) matrix.
 * Four values at a time: this loop decides how near `cat` comes to the speed of a file copy.
 *
 * @returns false when a value written is not finite
 */
export function placeColumns(
  target: Float32Array,
  width: number,
  column: number,
  b: Float32Array,
  r: number,
  weight: number,
  start: number,
  end: number,
): boolean {
  let even = 0; // a sum of float32 values in float64 cannot overflow: it is finite exactly when they all are
  let odd = 0;
  let source = start * r;
  for (let o = start; o < end; o++) {
    const rowEnd = source + r;
    let to = o * width + column;
    for (; source + 3 < rowEnd; source += 4, to += 4) {
      const v0 = Math.fround(b[source]! * weight);
      const v1 = Math.fround(b[source + 1]! * weight);
      const v2 = Math.fround(b[source + 2]! * weight);
      const v3 = Math.fround(b[source + 3]! * weight);
      target[to] = v0;
      target[to + 1] = v1;
      target[to + 2] = v2;
      target[to + 3] = v3;
      even += v0 + v2;
      odd += v1 + v3;
    }
    for (; source < rowEnd; source++, to++) {
      const value = Math.fround(b[source]! * weight);
      target[to] = value;
      even += value;
    }
  }
  return Number.isFinite(even + odd);
}

/**
 * Exact blend: A = [A_1; ...], B = [alpha_1 s_1 B_1, ...]. Adapters of coefficient zero are left out.
 *
 * @example
 * const { a, b, r } = combineCat([first, second], [0.7, 0.3], { in: 896, out: 128 }); // r = r_1 + r_2
 */
export function combineCat(
  factors: readonly LoraFactors[],
  coefficients: ArrayLike<number>,
  shape: ModuleShape,
): CombinedFactors {
  assertFactors(factors, coefficients, shape);
  const r = factors.reduce((sum, f, n) => sum + (coefficients[n] === 0 ? 0 : f.r), 0);
  const a = new Float32Array(r * shape.in);
  const b = new Float32Array(shape.out * r);
  let row = 0;
  for (const [n, f] of factors.entries()) {
    if (coefficients[n] === 0) continue;
    a.set(f.a, row * shape.in);
    placeColumns(b, r, row, f.b, f.r, coefficients[n]! * f.scale, 0, shape.out);
    row += f.r;
  }
  return { r, a, b, effectiveRank: r, relativeError: 0 };
}

/**
 * Sums of factors: A = sum alpha_n A_n, B = sum alpha_n s_n B_n. NOT the blend's delta, which `relativeError` measures: right to
 * 1e-15 while adapters differ, and to 1e-7 of the delta's parts where it is near zero by cancellation, as of adapters that share A.
 * All ranks must be equal. Adapters that lack the module are simply not in the list: they add nothing.
 */
export function combineLinear(
  factors: readonly LoraFactors[],
  coefficients: ArrayLike<number>,
  shape: ModuleShape,
  triangles?: StackTriangles,
): CombinedFactors {
  assertFactors(factors, coefficients, shape);
  const r = factors[0]?.r ?? 0;
  const sumA = new Float64Array(r * shape.in);
  const sumB = new Float64Array(shape.out * r);
  for (const [n, f] of factors.entries()) {
    const alpha = coefficients[n]!;
    const weight = alpha * f.scale;
    for (let i = 0; i < sumA.length; i++) sumA[i]! += alpha * f.a[i]!;
    for (let i = 0; i < sumB.length; i++) sumB[i]! += weight * f.b[i]!;
  }
  const linear = { r, a: Float32Array.from(sumA), b: Float32Array.from(sumB) };
  return { ...linear, effectiveRank: r, relativeError: linearError(factors, coefficients, shape, triangles) };
}

/**
 * |B A - (sum_n B_n)(sum_n alpha_n A_n)| / |B A| of a stack (coefficients in B) of adapters of equal rank. The difference is B K A with
 * K_nm = (delta_nm - alpha_m) I, and |B K A|^2 = tr(K^T (B^T B) K (A A^T)): two Gram matrices, and nothing large that
 * cancels against something large because of the coefficients.
 */
function linearError(
  factors: readonly LoraFactors[],
  coefficients: ArrayLike<number>,
  shape: ModuleShape,
  triangles: StackTriangles | undefined,
): number {
  const stack = stackFactors(factors, coefficients, shape, triangles, true);
  const { k } = stack;
  if (k === 0) return 0;
  const gramA = gramOf(stack.a, k);
  const gramB = gramOf(stack.b, k);
  const total = sumOfProducts(gramB, gramA);
  if (total <= 0) return 0;
  const r = factors[0]!.r;
  const alphas = Float64Array.from({ length: k }, (_, i) => coefficients[Math.floor(i / r)]!);
  // from both sides, the matrix is symmetric: rows of K^T G, then the columns
  const inner = transpose(timesK(transpose(timesK(gramB, k, r, alphas), k, k), k, r, alphas), k, k);
  return Math.sqrt(Math.max(0, sumOfProducts(inner, gramA)) / total);
}

/** G K, row by row: each block of r columns times 1 - alpha, less alpha times the sum of all other blocks, the ones before and the ones after. */
function timesK(g: Float64Array, k: number, r: number, alphas: Float64Array): Float64Array {
  const result = new Float64Array(k * k);
  const sums = new Float64Array(r);
  for (let i = 0; i < k; i++) {
    const at = i * k;
    sums.fill(0);
    for (let j = 0; j < k; j++) {
      result[at + j] = (1 - alphas[j]!) * g[at + j]! - alphas[j]! * sums[j % r]!;
      sums[j % r]! += g[at + j]!;
    }
    sums.fill(0);
    for (let j = k - 1; j >= 0; j--) {
      result[at + j]! -= alphas[j]! * sums[j % r]!;
      sums[j % r]! += g[at + j]!;
    }
  }
  return result;
}

function sumOfProducts(x: Float64Array, y: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < x.length; i++) sum += x[i]! * y[i]!;
  return sum;
}

/**
 * Best rank-`rank` approximation of the blend's delta, balanced: B = U sqrt(S), A = sqrt(S) V^T. The sign of each
 * component is fixed by making the largest entry of its row of A positive (the first of equals). When the delta has a
 * lower rank the rest is zero. `relativeError` is sqrt(sum of the squares of the dropped singular values / of all), summed
 * from the dropped values themselves, so that it is right down to about 1e-15.
 */
export function combineSvd(
  factors: readonly LoraFactors[],
  coefficients: ArrayLike<number>,
  shape: ModuleShape,
  rank: number,
  triangles?: StackTriangles,
): CombinedFactors {
  const stack = stackFactors(factors, coefficients, shape, triangles);
  const { k } = stack;
  const a = new Float32Array(rank * shape.in);
  const b = new Float32Array(shape.out * rank);
  if (k === 0) return { r: rank, a, b, effectiveRank: 0, relativeError: 0 };

  const { core, p, q, left, right } = thinCore(stack);
  const wanted = Math.min(rank, p, q);
  const { s, v, us } = topSvd(core, p, q, wanted);
  // what cancellation and rounding leave of a zero is a zero
  const negligible = Number.EPSILON * Math.max(p, q) * Math.max(s[0]!, stack.noise);
  const values = s.map((sigma) => (sigma > negligible ? sigma : 0));
  const firstZero = values.subarray(0, wanted).indexOf(0);
  const kept = firstZero === -1 ? wanted : firstZero;

  // With B = Q_B R_B, A^T = Q_A R_A and R_B R_A^T = U S V^T the delta's vectors are B (R_A^T v) and (R_B^T u)^T A: no Q is needed.
  const ofB = multiplyTransposed(v, kept, transpose(right, q, k), k, q);
  const ofA = multiplyTransposed(us, kept, transpose(left, p, k), k, p);
  for (let i = 0; i < kept; i++) {
    const root = Math.sqrt(values[i]!);
    for (let j = 0; j < k; j++) {
      ofB[i * k + j]! /= root;
      ofA[i * k + j]! /= root * values[i]!;
    }
  }
  const rows = combineVectors(ofA, kept, stack.a.x, k, shape.in); // (kept, in)
  const columns = combineVectors(ofB, kept, stack.b.x, k, shape.out); // (kept, out)
  for (let i = 0; i < kept; i++) {
    const sign = signOfLargest(rows, i * shape.in, shape.in);
    for (let t = 0; t < shape.in; t++) a[i * shape.in + t] = sign * rows[i * shape.in + t]!;
    for (let t = 0; t < shape.out; t++) b[t * rank + i] = sign * columns[i * shape.out + t]!;
  }
  const total = Math.sqrt(sumOfSquares(values, 0));
  const relativeError = total === 0 ? 0 : Math.sqrt(sumOfSquares(values, kept)) / total;
  return { r: rank, a, b, effectiveRank: kept, relativeError };
}

/** The blend's delta as Q_left . core . Q_right^T, with core = left . right^T. */
function thinCore(stack: Stack) {
  const { k } = stack;
  const { p, r: left } = triangleOf(stack.b, k);
  const { p: q, r: right } = triangleOf(stack.a, k);
  return { core: multiplyTransposed(left, p, right, q, k), p, q, left, right }; // (p, q)
}

function signOfLargest(x: Float64Array, at: number, length: number): number {
  let largest = at;
  for (let t = at + 1; t < at + length; t++) if (Math.abs(x[t]!) > Math.abs(x[largest]!)) largest = t;
  return x[largest]! < 0 ? -1 : 1;
}

/** Sum of the squares from index `start` on, smallest first when the values are sorted in descending order. */
function sumOfSquares(x: Float64Array, start: number): number {
  let sum = 0;
  for (let i = x.length - 1; i >= start; i--) sum += x[i]! * x[i]!;
  return sum;
}
