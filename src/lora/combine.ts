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

import assert from 'node:assert/strict';
import { multiplyTransposed } from '../core/linalg/products.js';
import { thinQr } from '../core/linalg/qr.js';
import { topSvd } from '../core/linalg/svd.js';

/** Width and height of the adapted linear layer. */
export interface ModuleShape {
  in: number;
  out: number;
}

/** One adapter's factors of one module. */
export interface LoraFactors {
  r: number;
  /** lora_A, (r, in) row-major. */
  a: Float32Array;
  /** lora_B, (out, r) row-major. */
  b: Float32Array;
  /** lora_alpha / r, or lora_alpha / sqrt(r) for rsLoRA. */
  scale: number;
}

/** A blend of several: delta W = B A, every scale folded into the factors. */
export interface CombinedFactors extends Omit<LoraFactors, 'scale'> {
  /** Components that are not zero; the rest of the r is padding. */
  effectiveRank: number;
  /** |B A - sum_n alpha_n s_n B_n A_n| / |sum_n alpha_n s_n B_n A_n| (Frobenius), before rounding to float32; 0 for a zero sum. */
  relativeError: number;
}

/** How several adapters become one; `linear` is not the same delta. */
export type CombineKind = 'cat' | 'svd' | 'linear';

/** Checks that factors and coefficients fit each other and the module; a mismatch here is a programmer's error. */
function assertFactors(factors: readonly LoraFactors[], coefficients: ArrayLike<number>, shape: ModuleShape): void {
  assert.equal(coefficients.length, factors.length, 'one coefficient for each adapter');
  for (let n = 0; n < factors.length; n++) {
    const { a, b, r, scale } = factors[n]!;
    assert.equal(a.length, r * shape.in, `adapter ${n}: lora_A is not (${r}, ${shape.in})`);
    assert.equal(b.length, shape.out * r, `adapter ${n}: lora_B is not (${shape.out}, ${r})`);
    assert.ok(
      Number.isFinite(scale) && Number.isFinite(coefficients[n]!),
      `adapter ${n}: scale or coefficient not finite`,
    );
  }
}

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
 * Sums of factors: A = sum alpha_n A_n, B = sum alpha_n s_n B_n. NOT the blend's delta, which `relativeError` measures.
 * All ranks must be equal. Adapters that lack the module are simply not in the list: they add nothing.
 */
export function combineLinear(
  factors: readonly LoraFactors[],
  coefficients: ArrayLike<number>,
  shape: ModuleShape,
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
  const linear = { r, a: Float32Array.from(sumA), b: Float32Array.from(sumB), scale: 1 };

  const total = deltaNorm(factors, coefficients, shape);
  const error = deltaNorm([...factors, linear], [...Array.from(coefficients), -1], shape);
  return { ...linear, effectiveRank: r, relativeError: total === 0 ? 0 : error / total };
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
): CombinedFactors {
  const { core, p, q, left, right, noise } = thinCore(factors, coefficients, shape);
  const a = new Float32Array(rank * shape.in);
  const b = new Float32Array(shape.out * rank);
  if (core.length === 0) return { r: rank, a, b, effectiveRank: 0, relativeError: 0 };

  const wanted = Math.min(rank, p, q);
  const { s, v, us } = topSvd(core, p, q, wanted);
  // what cancellation and rounding leave of a zero is a zero
  const negligible = Number.EPSILON * Math.max(p, q) * Math.max(s[0]!, noise);
  const values = s.map((sigma) => (sigma > negligible ? sigma : 0));
  const firstZero = values.subarray(0, wanted).indexOf(0);
  const kept = firstZero === -1 ? wanted : firstZero;

  for (let i = 0; i < kept; i++) {
    const root = Math.sqrt(values[i]!);
    for (let t = 0; t < q; t++) v[i * q + t]! *= root;
    for (let t = 0; t < p; t++) us[i * p + t]! /= root;
  }
  const rows = right.expand(v.subarray(0, kept * q), kept); // (kept, in)
  const columns = left.expand(us.subarray(0, kept * p), kept); // (kept, out)
  for (let i = 0; i < kept; i++) {
    const sign = signOfLargest(rows, i * shape.in, shape.in);
    for (let t = 0; t < shape.in; t++) a[i * shape.in + t] = sign * rows[i * shape.in + t]!;
    for (let t = 0; t < shape.out; t++) b[t * rank + i] = sign * columns[i * shape.out + t]!;
  }
  const total = Math.sqrt(sumOfSquares(values, 0));
  const relativeError = total === 0 ? 0 : Math.sqrt(sumOfSquares(values, kept)) / total;
  return { r: rank, a, b, effectiveRank: kept, relativeError };
}

/** Frobenius norm of sum_n alpha_n s_n B_n A_n, from the thin factors. */
export function deltaNorm(
  factors: readonly LoraFactors[],
  coefficients: ArrayLike<number>,
  shape: ModuleShape,
): number {
  return Math.sqrt(sumOfSquares(thinCore(factors, coefficients, shape).core, 0));
}

/** The blend's delta as Q_left . core . Q_right^T. */
function thinCore(factors: readonly LoraFactors[], coefficients: ArrayLike<number>, shape: ModuleShape) {
  assertFactors(factors, coefficients, shape);
  const { k, a, b, noise } = stackFactors(factors, coefficients, shape);
  const left = thinQr(b, k, shape.out);
  const right = thinQr(a, k, shape.in);
  const core = multiplyTransposed(left.r, left.p, right.r, right.p, k); // (p, q)
  return { core: k === 0 ? new Float64Array(0) : core, p: left.p, q: right.p, left, right, noise };
}

/**
 * All rank-one components that are not zero, in float64: a (k, in) and b (k, out), with coefficients and scales folded into b.
 * `noise` is the size that the delta would have if nothing cancelled.
 */
function stackFactors(factors: readonly LoraFactors[], coefficients: ArrayLike<number>, shape: ModuleShape) {
  const total = factors.reduce((sum, f) => sum + f.r, 0);
  const a = new Float64Array(total * shape.in);
  const b = new Float64Array(total * shape.out);
  let k = 0;
  let noise = 0;
  for (const [n, f] of factors.entries()) {
    const weight = coefficients[n]! * f.scale;
    if (weight === 0) continue;
    for (let j = 0; j < f.r; j++) {
      let squareA = 0;
      for (let t = 0, to = k * shape.in, from = j * shape.in; t < shape.in; t++) {
        const value = f.a[from + t]!;
        a[to + t] = value;
        squareA += value * value;
      }
      let squareB = 0;
      for (let t = 0, to = k * shape.out, from = j; t < shape.out; t++, from += f.r) {
        const value = weight * f.b[from]!;
        b[to + t] = value;
        squareB += value * value;
      }
      // a component with a zero half adds nothing; its place is used by the next one
      if (squareA === 0 || squareB === 0) continue;
      noise += squareA * squareB;
      k++;
    }
  }
  return { k, a: a.subarray(0, k * shape.in), b: b.subarray(0, k * shape.out), noise: Math.sqrt(noise) };
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
