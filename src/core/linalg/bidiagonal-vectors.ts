/**
 * Singular vectors of a bidiagonal matrix whose singular values are known, by inverse iteration.
 *
 * With B upper bidiagonal the matrix [0 B^T; B 0], its rows and columns dealt out in turn, is tridiagonal with a zero diagonal and
 * (d_0, e_0, d_1, e_1, ...) beside it; (v_0, u_0, v_1, u_1, ...) are its eigenvectors to sigma (Golub & Kahan 1965; LAPACK's
 * dbdsvdx). One costs O(n), where rotations cost O(n^2).
 */

/** Rounds of inverse iteration; one is enough where the shift is a value to full precision, unless the start is unlucky. */
const ROUNDS = 3;

/** Values nearer to each other than this, relative to the largest, have their vectors kept orthogonal on the way (as LAPACK's dstein). */
const CLUSTER = 1e-3;

/** How far |B v| may be from sigma, relative to the largest value, in units of n x epsilon. */
const TRUSTED = 8;

/**
 * @param d diagonal (n), of magnitude up to about 1
 * @param e superdiagonal (n - 1)
 * @param values singular values, largest first
 * @returns their right singular vectors, (values, n), orthonormal to rounding; null where that fails, which a zero among the values may cause
 */
export function bidiagonalVectors(d: Float64Array, e: Float64Array, values: Float64Array): Float64Array | null {
  const n = d.length;
  const beside = new Float64Array(2 * n);
  for (let i = 0; i < n; i++) {
    beside[2 * i] = d[i]!;
    if (i + 1 < n) beside[2 * i + 1] = e[i]!;
  }
  const largest = values[0]!;
  const found = new Float64Array(values.length * 2 * n); // each as (v, u) dealt out in turn
  const right = new Float64Array(values.length * n);
  for (const [i, sigma] of values.entries()) {
    let cluster = i;
    while (cluster > 0 && values[cluster - 1]! - values[cluster]! <= CLUSTER * largest) cluster--;
    const solve = shiftedSolver(beside, sigma, Number.EPSILON * largest);
    const x = found.subarray(i * 2 * n, (i + 1) * 2 * n);
    for (let t = 0; t < 2 * n; t++) x[t] = START[t % START.length]!;
    for (let round = 0; round < ROUNDS; round++) {
      solve(x);
      for (let j = cluster; j < i; j++) makeOrthogonal(x, found.subarray(j * 2 * n, (j + 1) * 2 * n));
      if (!normalised(x)) return null;
    }
    const v = right.subarray(i * n, (i + 1) * n);
    for (let t = 0; t < n; t++) v[t] = x[2 * t]!;
    if (!normalised(v)) return null;
    // twice is enough (Parlett): what the vectors share after one pass is rounding of what they shared before
    for (let pass = 0; pass < 2; pass++) {
      for (let j = 0; j < i; j++) makeOrthogonal(v, right.subarray(j * n, (j + 1) * n));
      if (!normalised(v)) return null;
    }
    if (!(Math.abs(imageLength(d, e, v) - sigma) <= TRUSTED * n * Number.EPSILON * largest)) return null;
  }
  return right;
}

/** No entry is zero and no two neighbours are alike, so that no singular vector is orthogonal to it but by accident. */
const START = Float64Array.from({ length: 37 }, (_, t) => (((t * 23 + 11) % 37) + 7) / 44 - (t % 3 === 1 ? 1 : 0));

/** Solves (T - sigma) x = x in place, T of zero diagonal and `beside` its neighbours: LU with row exchanges; a zero pivot becomes `tiny`. */
function shiftedSolver(beside: Float64Array, sigma: number, tiny: number): (x: Float64Array) => void {
  const m = beside.length;
  const diagonal = new Float64Array(m).fill(-sigma);
  const next = Float64Array.from(beside); // first superdiagonal of U
  const second = new Float64Array(m); // and its second, which exchanges fill
  const factor = new Float64Array(m);
  const isExchanged = new Uint8Array(m);
  for (let i = 0; i + 1 < m; i++) {
    const below = beside[i]!;
    if (Math.abs(diagonal[i]!) >= Math.abs(below)) {
      if (diagonal[i] === 0) diagonal[i] = tiny;
      factor[i] = below / diagonal[i]!;
      diagonal[i + 1]! -= factor[i]! * next[i]!;
      continue;
    }
    isExchanged[i] = 1;
    factor[i] = diagonal[i]! / below;
    const above = next[i]!;
    diagonal[i] = below;
    next[i] = diagonal[i + 1]!;
    diagonal[i + 1] = above - factor[i]! * next[i]!;
    if (i + 2 < m) {
      second[i] = next[i + 1]!;
      next[i + 1] = -factor[i]! * second[i]!;
    }
  }
  if (Math.abs(diagonal[m - 1]!) < tiny) diagonal[m - 1] = tiny;
  return (x) => {
    for (let i = 0; i + 1 < m; i++) {
      const upper = x[i]!;
      if (isExchanged[i] === 0) x[i + 1]! -= factor[i]! * upper;
      else {
        x[i] = x[i + 1]!;
        x[i + 1] = upper - factor[i]! * x[i]!;
      }
    }
    x[m - 1]! /= diagonal[m - 1]!;
    if (m > 1) x[m - 2] = (x[m - 2]! - next[m - 2]! * x[m - 1]!) / diagonal[m - 2]!;
    for (let i = m - 3; i >= 0; i--) x[i] = (x[i]! - next[i]! * x[i + 1]! - second[i]! * x[i + 2]!) / diagonal[i]!;
  };
}

/** x less its share of the unit vector y. */
function makeOrthogonal(x: Float64Array, y: Float64Array): void {
  let sum = 0;
  for (let t = 0; t < x.length; t++) sum += x[t]! * y[t]!;
  for (let t = 0; t < x.length; t++) x[t]! -= sum * y[t]!;
}

/** Scales to unit length; false where there is none. */
function normalised(x: Float64Array): boolean {
  let largest = 0;
  for (let t = 0; t < x.length; t++) largest = Math.max(largest, Math.abs(x[t]!));
  if (!(largest > 0 && Number.isFinite(largest))) return false;
  let sum = 0;
  for (let t = 0; t < x.length; t++) sum += (x[t]! / largest) ** 2;
  const length = Math.sqrt(sum) * largest;
  for (let t = 0; t < x.length; t++) x[t]! /= length;
  return true;
}

/** |B v|. */
function imageLength(d: Float64Array, e: Float64Array, v: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < d.length; i++) {
    const image = d[i]! * v[i]! + (i + 1 < d.length ? e[i]! * v[i + 1]! : 0);
    sum += image * image;
  }
  return Math.sqrt(sum);
}
