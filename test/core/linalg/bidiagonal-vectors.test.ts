// npx vitest run test/core/linalg/bidiagonal-vectors.test.ts
import { describe, expect, it } from 'vitest';
import { bidiagonalVectors } from '../../../src/core/linalg/bidiagonal-vectors.js';
import { topSvd } from '../../../src/core/linalg/svd.js';
import { createRandom } from '../../../src/core/random.js';

const random = createRandom(5, 'bidiagonal');

/** The dense form of a bidiagonal matrix. */
function dense(d: Float64Array, e: Float64Array): Float64Array {
  const n = d.length;
  const b = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    b[i * n + i] = d[i]!;
    if (i + 1 < n) b[i * n + i + 1] = e[i]!;
  }
  return b;
}

/** Largest error of V V^T = I, and largest |B^T B v - sigma^2 v|. */
function errors(d: Float64Array, e: Float64Array, values: Float64Array, right: Float64Array) {
  const n = d.length;
  const b = dense(d, e);
  let orthogonality = 0;
  let residual = 0;
  for (let i = 0; i < values.length; i++) {
    const v = right.subarray(i * n, (i + 1) * n);
    for (let j = 0; j <= i; j++) {
      const sum = v.reduce((total, x, t) => total + x * right[j * n + t]!, i === j ? -1 : 0);
      orthogonality = Math.max(orthogonality, Math.abs(sum));
    }
    const image = Float64Array.from({ length: n }, (_, r) => v.reduce((total, x, t) => total + b[r * n + t]! * x, 0));
    for (let t = 0; t < n; t++) {
      const back = image.reduce((total, x, r) => total + b[r * n + t]! * x, 0);
      residual = Math.max(residual, Math.abs(back - values[i]! ** 2 * v[t]!));
    }
  }
  return { orthogonality, residual };
}

const uniform = (n: number): Float64Array => Float64Array.from({ length: n }, () => random.uniform());
/** Values by the other way: all vectors of them, so by rotations. */
const valuesOf = (d: Float64Array, e: Float64Array) => topSvd(dense(d, e), d.length, d.length, d.length).s;

describe('bidiagonalVectors', () => {
  it.each([1, 2, 5, 40, 128])('finds the leading vectors of a random matrix of size %i', (n) => {
    const [d, e] = [uniform(n), uniform(n - 1)];
    const values = valuesOf(d, e).subarray(0, Math.ceil(n / 8));
    const { orthogonality, residual } = errors(d, e, values, bidiagonalVectors(d, e, values)!);
    expect(orthogonality).toBeLessThan(1e-14);
    expect(residual).toBeLessThan(1e-13);
  });

  it('keeps the vectors of equal and nearly equal values apart, in blocks and out of them', () => {
    const twin = uniform(10);
    const d = Float64Array.from([...twin, ...twin, ...twin.map((x) => x * (1 + 1e-13))]);
    const beside = uniform(9);
    const e = Float64Array.from([...beside, 0, ...beside, 1e-9, ...beside]);
    const values = valuesOf(d, e).subarray(0, 9);
    const right = bidiagonalVectors(d, e, values);
    const { orthogonality, residual } = errors(d, e, values, right!);
    expect(orthogonality).toBeLessThan(1e-14);
    expect(residual).toBeLessThan(1e-12);
  });

  it('says so when it is asked for a value that is none', () => {
    const [d, e] = [uniform(12), uniform(11)];
    const values = valuesOf(d, e).subarray(0, 2);
    expect(
      bidiagonalVectors(
        d,
        e,
        values.map((value, i) => value * (1 + i * 0.03)),
      ),
    ).toBeNull();
  });
});

describe('topSvd of few of many', () => {
  it.each([
    [60, 60, 5],
    [60, 90, 16],
    [90, 60, 1],
  ])('is the same as of all, for the first %3$i of a (%1$i, %2$i) matrix, whatever its rank', (p, q, rank) => {
    const c = Float64Array.from({ length: p * q }, () => random.normal());
    const low = new Float64Array(p * q);
    for (let i = 0; i < p; i++) for (let j = 0; j < q; j++) low[i * q + j] = c[i]! * c[j]! + c[p + i]! * c[q + j]!;
    for (const matrix of [c, low]) {
      const all = topSvd(matrix, p, q, Math.min(p, q));
      const few = topSvd(matrix, p, q, rank);
      for (const [i, value] of few.s.entries()) expect(Math.abs(value - all.s[i]!)).toBeLessThan(1e-12 * all.s[0]!);
      for (let i = 0; i < rank && few.s[i]! > 1e-10 * few.s[0]!; i++) {
        let cosine = 0;
        for (let t = 0; t < q; t++) cosine += few.v[i * q + t]! * all.v[i * q + t]!;
        expect(Math.abs(cosine)).toBeCloseTo(1, 11);
      }
    }
  });
});
