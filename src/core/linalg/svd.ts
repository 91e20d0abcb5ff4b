/**
 * Singular value decomposition of a small dense matrix, in float64: all singular values, and the leading singular vectors only.
 *
 * Golub & Reinsch: Householder reflections to upper bidiagonal form, then implicitly shifted QR sweeps
 * (Golub & Van Loan, Matrix Computations, 8.6). Three savings over the textbook: rotations from the left are never
 * accumulated (the left vectors follow from C v = sigma u); only the wanted right vectors are carried back through
 * the reflections; and where few of many are wanted they come by inverse iteration (bidiagonal-vectors.ts), without rotations.
 * Never squares the matrix, so that singular values are right to about epsilon x sigma_1.
 */
import assert from 'node:assert/strict';
import { bidiagonalVectors } from './bidiagonal-vectors.js';
import { multiplyTransposed } from './products.js';
import { makeReflector, reflect, transpose } from './qr.js';

const EPSILON = Number.EPSILON;

/** Sweeps allowed for each singular value before the iteration is declared broken; two or three are usual. */
const MAX_SWEEPS = 60;

export interface TopSvd {
  /** All min(p, q) singular values, largest first. */
  s: Float64Array;
  /** Wanted right singular vectors, (rank, q), rows of unit length. */
  v: Float64Array;
  /** C v_i = sigma_i u_i, (rank, p): left vectors times their singular values, which stay exact where sigma_i is tiny. */
  us: Float64Array;
}

/** Singular values of the row-major (p, q) matrix `c`, with the vectors of the `rank` largest; rank <= min(p, q). */
export function topSvd(c: Float64Array, p: number, q: number, rank: number): TopSvd {
  assert.ok(rank <= Math.min(p, q), `topSvd: rank ${rank} of a (${p}, ${q}) matrix`);
  const scale = largestMagnitude(c);
  if (scale === 0) {
    const v = new Float64Array(rank * q);
    for (let i = 0; i < rank; i++) v[i * q + i] = 1;
    return { s: new Float64Array(Math.min(p, q)), v, us: new Float64Array(rank * p) };
  }

  // work on a tall matrix of entries up to 1: a wide one is transposed, its right vectors are the left ones
  const tall = p >= q;
  const [rows, columns] = tall ? [p, q] : [q, p];
  const work = tall ? Float64Array.from(c) : transpose(c, p, q);
  for (let i = 0; i < work.length; i++) work[i]! /= scale;

  const { d, e, vectors, beta } = bidiagonalise(work, rows, columns);
  const { values, right } = (2 * rank < columns ? few(d, e, rank) : null) ?? many(d, e, rank);
  const s = values.map((value) => value * scale);

  // the wanted vectors, carried back through the right-hand reflections, last first
  for (let i = 0; i < rank; i++) {
    for (let k = columns - 3; k >= 0; k--) {
      reflect(vectors, k * columns + k + 1, beta[k]!, right, i * columns + k + 1, columns - k - 1);
    }
  }

  if (tall) return { s, v: right, us: multiplyTransposed(right, rank, c, p, q) };
  // C = U S V^T transposed is V S U^T: `right` holds u, and C^T u = sigma v
  const vs = multiplyTransposed(right, rank, transpose(c, p, q), q, p);
  return fromLeft(s, right, vs, p, q, rank);
}

/** From unit left vectors u and sigma v: moves each sigma to the left side. A vector of no length gets v = 0, sigma u = 0. */
function fromLeft(s: Float64Array, u: Float64Array, vs: Float64Array, p: number, q: number, rank: number): TopSvd {
  const us = new Float64Array(rank * p);
  for (let i = 0; i < rank; i++) {
    let sum = 0;
    for (let t = 0; t < q; t++) sum += vs[i * q + t]! * vs[i * q + t]!;
    const sigma = Math.sqrt(sum);
    for (let t = 0; t < q; t++) vs[i * q + t] = sigma === 0 ? 0 : vs[i * q + t]! / sigma;
    for (let t = 0; t < p; t++) us[i * p + t] = u[i * p + t]! * sigma;
  }
  return { s, v: vs, us };
}

interface Diagonal {
  /** All singular values, largest first. */
  values: Float64Array;
  /** Right vectors of the wanted ones, (rank, n). */
  right: Float64Array;
}

/** All values of an upper bidiagonal matrix, which is overwritten, and the vectors of the largest by accumulated rotations. */
function many(d: Float64Array, e: Float64Array, rank: number): Diagonal {
  const n = d.length;
  const vt = new Float64Array(n * n);
  for (let i = 0; i < n; i++) vt[i * n + i] = 1;
  diagonalise(d, e, vt);
  const order = Array.from(d.keys()).sort((i, j) => Math.abs(d[j]!) - Math.abs(d[i]!) || i - j);
  const right = new Float64Array(rank * n);
  for (let i = 0; i < rank; i++) right.set(vt.subarray(order[i]! * n, (order[i]! + 1) * n), i * n);
  return { values: Float64Array.from(order, (i) => Math.abs(d[i]!)), right };
}

/** The same, the vectors by inverse iteration; null, the matrix untouched, where that does not find them. */
function few(d: Float64Array, e: Float64Array, rank: number): Diagonal | null {
  const all = Float64Array.from(d);
  diagonalise(all, Float64Array.from(e), null);
  const values = all.map(Math.abs).sort().reverse();
  const right = bidiagonalVectors(d, e, values.subarray(0, rank));
  return right === null ? null : { values, right };
}

interface Bidiagonal {
  /** Diagonal (columns) and superdiagonal (columns - 1). */
  d: Float64Array;
  e: Float64Array;
  /** Row k holds the right-hand reflector k, from entry k + 1 on; `beta` its factors. */
  vectors: Float64Array;
  beta: Float64Array;
}

/** Reduces a row-major (rows, columns) matrix, rows >= columns, to upper bidiagonal form; overwrites it. */
function bidiagonalise(a: Float64Array, rows: number, columns: number): Bidiagonal {
  const d = new Float64Array(columns);
  const e = new Float64Array(Math.max(0, columns - 1));
  const beta = new Float64Array(columns);
  const column = new Float64Array(rows);
  const products = new Float64Array(columns);
  for (let k = 0; k < columns; k++) {
    // from the left: column k below the diagonal to zero
    for (let i = k; i < rows; i++) column[i] = a[i * columns + k]!;
    const leftBeta = makeReflector(column, k, rows - k, d, k);
    if (leftBeta === 0) products.fill(0, k + 1);
    else {
      columnProducts(products, column, a, k, rows, columns);
      for (let j = k + 1; j < columns; j++) products[j]! *= leftBeta;
    }
    const u = column[k]!;
    for (let j = k + 1; j < columns; j++) a[k * columns + j]! -= u * products[j]!;
    // from the right: row k beyond the superdiagonal to zero
    if (k < columns - 2) beta[k] = makeReflector(a, k * columns + k + 1, columns - k - 1, e, k);
    else if (k < columns - 1) e[k] = a[k * columns + k + 1]!;
    for (let i = k + 1; i < rows; i++) reflectBoth(a, columns, k, i, column[i]!, products, beta[k]!);
  }
  return { d, e, vectors: a, beta };
}

/** products <- column^T A over rows [k, rows) and columns (k, columns), four rows at a time. */
function columnProducts(
  products: Float64Array,
  column: Float64Array,
  a: Float64Array,
  k: number,
  rows: number,
  columns: number,
): void {
  products.fill(0, k + 1);
  let i = k;
  for (; i + 3 < rows; i += 4) {
    const u0 = column[i]!;
    const u1 = column[i + 1]!;
    const u2 = column[i + 2]!;
    const u3 = column[i + 3]!;
    const row0 = i * columns;
    const row1 = row0 + columns;
    const row2 = row1 + columns;
    const row3 = row2 + columns;
    for (let j = k + 1; j < columns; j++) {
      products[j]! += u0 * a[row0 + j]! + u1 * a[row1 + j]! + (u2 * a[row2 + j]! + u3 * a[row3 + j]!);
    }
  }
  for (; i < rows; i++) {
    const u = column[i]!;
    for (let j = k + 1; j < columns; j++) products[j]! += u * a[i * columns + j]!;
  }
}

/** Row i after the reflection from the left, and then after that from the right, whose vector is row k beyond the diagonal. */
function reflectBoth(
  a: Float64Array,
  columns: number,
  k: number,
  i: number,
  u: number,
  products: Float64Array,
  beta: number,
): void {
  const at = i * columns;
  const vector = k * columns;
  let s0 = 0;
  let s1 = 0;
  let j = k + 1;
  for (; j + 1 < columns; j += 2) {
    const x0 = a[at + j]! - u * products[j]!;
    const x1 = a[at + j + 1]! - u * products[j + 1]!;
    a[at + j] = x0;
    a[at + j + 1] = x1;
    s0 += x0 * a[vector + j]!;
    s1 += x1 * a[vector + j + 1]!;
  }
  for (; j < columns; j++) {
    a[at + j]! -= u * products[j]!;
    s0 += a[at + j]! * a[vector + j]!;
  }
  if (beta === 0) return;
  const sum = beta * (s0 + s1);
  for (j = k + 1; j < columns; j++) a[at + j]! -= sum * a[vector + j]!;
}

/**
 * QR sweeps on an upper bidiagonal matrix until the superdiagonal vanishes; `d` ends as the (signed) singular values. The right
 * rotations are multiplied into `vt`, row-major (n, n), unless only the values matter.
 */
function diagonalise(d: Float64Array, e: Float64Array, vt: Float64Array | null): void {
  const n = d.length;
  // entries are at most about 1 here (see `scale`): what falls below `tiny` is rounding of the largest
  const tiny = EPSILON * Math.max(largestMagnitude(d), largestMagnitude(e)) * 0.5;

  let hi = n - 1;
  let sweeps = 0;
  while (hi > 0) {
    for (let k = 0; k < hi; k++) if (Math.abs(e[k]!) <= tiny) e[k] = 0;
    if (e[hi - 1] === 0) {
      hi--;
      sweeps = 0;
      continue;
    }
    let lo = hi - 1;
    while (lo > 0 && e[lo - 1] !== 0) lo--;

    let zero = hi;
    while (zero >= lo && Math.abs(d[zero]!) > tiny) zero--;
    if (zero === hi) chaseUp(d, e, lo, hi, vt, n);
    else if (zero >= lo) chaseRight(d, e, zero, hi);
    else {
      assert.ok(++sweeps <= MAX_SWEEPS, 'topSvd: QR sweeps do not converge (is there a NaN?)');
      sweep(d, e, lo, hi, vt, n);
    }
  }
}

/** d[hi] is zero: rotations of columns k and hi, from the right, push e[hi-1] up and out. */
function chaseUp(d: Float64Array, e: Float64Array, lo: number, hi: number, vt: Float64Array | null, n: number): void {
  d[hi] = 0;
  let bulge = e[hi - 1]!;
  e[hi - 1] = 0;
  for (let k = hi - 1; k >= lo && bulge !== 0; k--) {
    const r = length(d[k]!, bulge);
    const c = d[k]! / r;
    const s = bulge / r;
    d[k] = r;
    if (k > lo) {
      bulge = -s * e[k - 1]!;
      e[k - 1]! *= c;
    }
    if (vt !== null) rotate(vt, n, k, hi, c, s);
  }
}

/** d[zero] is zero: rotations of rows zero and k, from the left, push e[zero] right and out. V is not touched. */
function chaseRight(d: Float64Array, e: Float64Array, zero: number, hi: number): void {
  d[zero] = 0;
  let bulge = e[zero]!;
  e[zero] = 0;
  for (let k = zero + 1; k <= hi && bulge !== 0; k++) {
    const r = length(d[k]!, bulge);
    const c = d[k]! / r;
    const s = -bulge / r;
    d[k] = r;
    if (k < hi) {
      bulge = s * e[k]!;
      e[k]! *= c;
    }
  }
}

/** One implicitly shifted QR sweep over the block lo..hi, all of whose entries are nonzero. */
function sweep(d: Float64Array, e: Float64Array, lo: number, hi: number, vt: Float64Array | null, n: number): void {
  // Wilkinson's shift: the eigenvalue of the trailing 2 x 2 of B^T B nearest to its last entry, taken relative to that entry
  const b =
    (d[hi - 1]! + d[hi]!) * (d[hi - 1]! - d[hi]!) * 0.5 +
    (hi - 1 > lo ? e[hi - 2]! ** 2 - e[hi - 1]! ** 2 : -(e[hi - 1]! ** 2)) * 0.5;
  const offDiagonal = d[hi - 1]! * e[hi - 1]!;
  const root = length(b, offDiagonal) * (b < 0 ? -1 : 1);
  const shift = root + b === 0 ? 0 : (offDiagonal / (b + root)) * offDiagonal;

  // first column of B^T B - mu I, with mu = d[hi]^2 + e[hi-1]^2 - shift
  let y = (d[lo]! + d[hi]!) * (d[lo]! - d[hi]!) - e[hi - 1]! ** 2 + shift;
  let z = d[lo]! * e[lo]!;
  for (let k = lo; k < hi; k++) {
    // columns k, k+1: moves the bulge below the diagonal
    let r = length(y, z);
    let c = r === 0 ? 1 : y / r;
    let s = r === 0 ? 0 : z / r;
    if (k > lo) e[k - 1] = r;
    y = c * d[k]! + s * e[k]!;
    e[k] = c * e[k]! - s * d[k]!;
    z = s * d[k + 1]!;
    d[k + 1]! *= c;
    if (vt !== null) rotate(vt, n, k, k + 1, c, s);

    // rows k, k+1: moves it right of the superdiagonal
    r = length(y, z);
    c = r === 0 ? 1 : y / r;
    s = r === 0 ? 0 : z / r;
    d[k] = r;
    y = c * e[k]! + s * d[k + 1]!;
    d[k + 1] = c * d[k + 1]! - s * e[k]!;
    e[k] = y;
    if (k + 1 < hi) {
      z = s * e[k + 1]!;
      e[k + 1]! *= c;
    }
  }
}

/** Rows i and j of V^T: (c row_i + s row_j, c row_j - s row_i). */
function rotate(vt: Float64Array, n: number, i: number, j: number, c: number, s: number): void {
  const a = i * n;
  const b = j * n;
  for (let t = 0; t < n; t++) {
    const x = vt[a + t]!;
    const y = vt[b + t]!;
    vt[a + t] = c * x + s * y;
    vt[b + t] = c * y - s * x;
  }
}

/** sqrt(x^2 + y^2). `Math.hypot` may differ between engines; the entries here are at most about 1, so squares do not overflow. */
function length(x: number, y: number): number {
  const a = Math.abs(x);
  const b = Math.abs(y);
  if (a === 0) return b;
  if (b === 0) return a;
  const [large, small] = a > b ? [a, b] : [b, a];
  const ratio = small / large;
  return large * Math.sqrt(1 + ratio * ratio);
}

function largestMagnitude(x: Float64Array): number {
  let largest = 0;
  for (let i = 0; i < x.length; i++) largest = Math.max(largest, Math.abs(x[i]!));
  return largest;
}
