/**
 * The adapters of one module, stacked: sum_n alpha_n s_n B_n A_n is B A with the factors side by side, and what is asked of it (norms,
 * singular values) follows from two small matrices, R with R^T R the Gram matrix of each side's components. They do not depend on the
 * coefficients, so a pool can keep them.
 */

import assert from 'node:assert/strict';
import { gram } from '../core/linalg/products.js';
import { householderQr, thinQr, transpose } from '../core/linalg/qr.js';

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

/**
 * R of each side of a stack that the factors are a part of, without coefficients and scales. What does not fit the factors is not used.
 */
export interface StackTriangles {
  /** Components of that stack: R is (k, k). */
  k: number;
  /** For each of the factors, which of the components is its first. */
  first: readonly number[];
  /** The columns of R down to the diagonal, one after another, k (k + 1) / 2 values; null where it is not known. */
  a: Float64Array | null;
  b: Float64Array | null;
}

/** How far the squared length of a component may be from what R says, relative to it: rounding of sums, and nothing else. */
const SAME_LENGTH = 1e-9;

/** Checks that factors and coefficients fit each other and the module; a mismatch here is a programmer's error. */
export function assertFactors(
  factors: readonly LoraFactors[],
  coefficients: ArrayLike<number>,
  shape: ModuleShape,
): void {
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

/** One side of a stack: k vectors of length n, and the same in few dimensions: the columns of R, if it is known. */
interface Side {
  x: Float64Array;
  n: number;
  /** (k, components that R was made of); null where R is to be computed */
  columns: Float64Array | null;
}

export interface Stack {
  /** Components. */
  k: number;
  /** (k, in) */
  a: Side;
  /** (k, out), coefficients and scales folded in */
  b: Side;
  /** The size that the delta would have if nothing cancelled. */
  noise: number;
}

/** Megabytes for a module of a large model, and needed for one module after another: kept from one to the next. */
const kept = [new Float64Array(0), new Float64Array(0)];

function scratch(which: 0 | 1, length: number): Float64Array {
  if (kept[which]!.length < length) kept[which] = new Float64Array(length);
  return kept[which]!.subarray(0, length);
}

/**
 * All rank-one components in float64, with coefficients and scales folded into b. The arrays are valid until the next call.
 *
 * @param all also those that are zero; otherwise their places are used by the next ones
 */
export function stackFactors(
  factors: readonly LoraFactors[],
  coefficients: ArrayLike<number>,
  shape: ModuleShape,
  triangles: StackTriangles | undefined,
  all = false,
): Stack {
  assertFactors(factors, coefficients, shape);
  const total = factors.reduce((sum, f) => sum + f.r, 0);
  const a = scratch(0, total * shape.in);
  const b = scratch(1, total * shape.out);
  const columnsA = new Columns(triangles?.a, triangles?.k, total, shape.in);
  const columnsB = new Columns(triangles?.b, triangles?.k, total, shape.out);
  let k = 0;
  let noise = 0;
  for (const [n, f] of factors.entries()) {
    const weight = coefficients[n]! * f.scale;
    const first = triangles?.first[n] ?? 0;
    for (let j = 0; j < f.r; j++) {
      if (weight === 0 && !all) continue;
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
      // a component with a zero half adds nothing
      if ((squareA === 0 || squareB === 0) && !all) continue;
      noise += squareA * squareB;
      columnsA.take(first + j, k, 1, squareA);
      columnsB.take(first + j, k, weight, squareB);
      k++;
    }
  }
  return {
    k,
    a: { x: a.subarray(0, k * shape.in), n: shape.in, columns: columnsA.taken(k) },
    b: { x: b.subarray(0, k * shape.out), n: shape.out, columns: columnsB.taken(k) },
    noise: Math.sqrt(noise),
  };
}

/** Columns of a triangle, taken one by one beside the components that they stand for. */
class Columns {
  readonly #triangle: Float64Array | null;
  readonly #height: number;
  readonly #columns: Float64Array;
  #fits = true;

  constructor(triangle: Float64Array | null | undefined, height = 0, components: number, n: number) {
    const isUsable = triangle?.length === (height * (height + 1)) / 2 && height < n;
    this.#triangle = isUsable ? triangle : null;
    this.#height = height;
    this.#columns = new Float64Array(isUsable ? components * height : 0);
  }

  /** Column `from`, times `weight`, as number `to`; `square` is the squared length of the component, which it must have too. */
  take(from: number, to: number, weight: number, square: number): void {
    if (this.#triangle === null || !this.#fits) return;
    const at = (from * (from + 1)) / 2;
    let sum = 0;
    for (let t = 0; t <= from && from < this.#height; t++) {
      const value = weight * this.#triangle[at + t]!;
      this.#columns[to * this.#height + t] = value;
      sum += value * value;
    }
    this.#fits = Math.abs(sum - square) <= SAME_LENGTH * square;
  }

  /** The first k columns; null where there are none that fit. */
  taken(k: number): Float64Array | null {
    return this.#triangle !== null && this.#fits ? this.#columns.subarray(0, k * this.#height) : null;
  }
}

/** R of a side: row-major (p, k), with R^T R the Gram matrix of its k vectors. */
export function triangleOf({ x, n, columns }: Side, k: number): { p: number; r: Float64Array } {
  if (columns === null || k === 0) return thinQr(x, k, n);
  const rows = columns.length / k;
  // of fewer components than R was made of, R is made again, from R
  return rows === k ? { p: k, r: transpose(columns, k, k) } : householderQr(columns, k, rows);
}

/** Gram matrix (k, k) of a side. */
export function gramOf({ x, n, columns }: Side, k: number): Float64Array {
  return columns === null || k === 0 ? gram(x, k, n) : gram(columns, k, columns.length / k);
}
