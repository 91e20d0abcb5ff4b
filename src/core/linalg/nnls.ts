/**
 * Non-negative least squares: min over x >= 0 of |M x - y|, by Lawson & Hanson's active set (Solving Least Squares Problems,
 * 1974, chapter 23), from the normal equations: G = M^T M and h = M^T y are all it needs.
 */
import { cholesky, solveLowerTransposed } from './products.js';

/** A column whose squared sine with the ones already chosen is below this adds no direction of its own. */
const DEPENDENT = 1e-10;

/**
 * @param g Gram matrix of the columns, symmetric (k, k)
 * @param h their inner products with the target (k)
 * @returns x (k), every entry >= 0
 */
export function nonNegativeLeastSquares(g: Float64Array, h: Float64Array): Float64Array {
  const k = h.length;
  const x = new Float64Array(k);
  const passive: number[] = [];
  const excluded = new Set<number>(); // dependent on the passive set; reconsidered whenever that shrinks
  const scale = h.reduce((largest, value) => Math.max(largest, Math.abs(value)), 0);

  // in exact arithmetic no passive set occurs twice; the bound is for rounding alone
  for (let step = 0; step < 3 * k + 10; step++) {
    const gradient = h.map((value, i) => value - x.reduce((sum, xj, j) => sum + g[i * k + j]! * xj, 0));
    let entering = -1;
    for (let i = 0; i < k; i++) {
      if (passive.includes(i) || excluded.has(i) || gradient[i]! <= 1e-12 * scale) continue;
      if (entering === -1 || gradient[i]! > gradient[entering]!) entering = i;
    }
    if (entering === -1) break;
    passive.push(entering);

    for (;;) {
      const solution = solveOn(passive, g, h, k);
      if (solution === null) {
        excluded.add(passive.pop()!);
        break;
      }
      if (solution.every((value) => value > 0)) {
        x.fill(0);
        for (const [p, i] of passive.entries()) x[i] = solution[p]!;
        break;
      }
      // go from x towards the solution until the first entry reaches zero, and take that one out
      let leaving = -1;
      let part = 1;
      for (const [p, i] of passive.entries()) {
        if (solution[p]! > 0) continue;
        const reach = x[i]! / (x[i]! - solution[p]!);
        if (leaving === -1 || reach < part) [leaving, part] = [p, reach];
      }
      for (const [p, i] of passive.entries()) x[i]! += part * (solution[p]! - x[i]!);
      x[passive[leaving]!] = 0;
      passive.splice(leaving, 1);
      excluded.clear();
      if (passive.length === 0) break;
    }
    // pushed out at once by rounding: it would come in again and again
    if (!passive.includes(entering)) excluded.add(entering);
  }
  return x;
}

/** Unconstrained least squares on the given columns, or null when they are dependent. */
function solveOn(columns: readonly number[], g: Float64Array, h: Float64Array, k: number): Float64Array | null {
  const p = columns.length;
  const part = new Float64Array(p * p);
  for (const [a, i] of columns.entries()) for (const [b, j] of columns.entries()) part[a * p + b] = g[i * k + j]!;
  const l = cholesky(part, p, DEPENDENT);
  if (l === null) return null;
  // L z = h, then L^T x = z
  const z = new Float64Array(p);
  for (const [a, i] of columns.entries()) {
    let sum = h[i]!;
    for (let b = 0; b < a; b++) sum -= l[a * p + b]! * z[b]!;
    z[a] = sum / l[a * p + a]!;
  }
  return solveLowerTransposed(l, p, z, 1);
}
