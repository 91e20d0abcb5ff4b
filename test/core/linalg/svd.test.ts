// npx vitest run test/core/linalg/svd.test.ts
import { describe, expect, it } from 'vitest';
import { topSvd } from '../../../src/core/linalg/svd.js';
import { createRandom } from '../../../src/core/random.js';

const random = createRandom(11, 'svd');
const normals = (count: number): Float64Array => Float64Array.from({ length: count }, () => random.normal());

const sumOfSquares = (x: Float64Array): number => x.reduce((sum, v) => sum + v * v, 0);

/** |C - sum_i us_i v_i^T| / |C| and the largest error of V V^T = I over the nonzero values. */
function residual(c: Float64Array, p: number, q: number, rank: number) {
  const { s, v, us } = topSvd(c, p, q, rank);
  const rest = Float64Array.from(c);
  for (let k = 0; k < rank; k++)
    for (let i = 0; i < p; i++) for (let j = 0; j < q; j++) rest[i * q + j]! -= us[k * p + i]! * v[k * q + j]!;
  let orthogonality = 0;
  for (let a = 0; a < rank; a++) {
    for (let b = 0; b < rank; b++) {
      if (s[a]! <= 1e-13 * s[0]! || s[b]! <= 1e-13 * s[0]!) continue;
      let sum = a === b ? -1 : 0;
      for (let t = 0; t < q; t++) sum += v[a * q + t]! * v[b * q + t]!;
      orthogonality = Math.max(orthogonality, Math.abs(sum));
    }
  }
  return { s, relative: Math.sqrt(sumOfSquares(rest) / sumOfSquares(c)), orthogonality };
}

describe('topSvd', () => {
  it.each([
    [1, 1],
    [1, 5],
    [5, 1],
    [2, 2],
    [7, 3],
    [3, 7],
    [40, 33],
    [33, 40],
    [64, 64],
  ])('rebuilds a (%i, %i) matrix from all its vectors', (p, q) => {
    const c = normals(p * q);
    const { s, relative, orthogonality } = residual(c, p, q, Math.min(p, q));
    expect(relative).toBeLessThan(1e-13);
    expect(orthogonality).toBeLessThan(1e-13);
    expect(sumOfSquares(s) / sumOfSquares(c)).toBeCloseTo(1, 12);
    expect([...s]).toEqual([...s].sort((a, b) => b - a));
  });

  it('knows the values of a rotated diagonal matrix over twelve orders of magnitude', () => {
    const n = 7;
    const wanted = Array.from({ length: n }, (_, i) => 10 ** (-2 * i));
    // Householder reflections from both sides: orthogonal, so the values stay
    const [u, v] = [normals(n), normals(n)];
    const reflection = (x: Float64Array, i: number, j: number): number =>
      (i === j ? 1 : 0) - (2 * x[i]! * x[j]!) / sumOfSquares(x);
    const c = new Float64Array(n * n);
    for (let i = 0; i < n; i++)
      for (let j = 0; j < n; j++)
        for (let k = 0; k < n; k++) c[i * n + j]! += reflection(u, i, k) * wanted[k]! * reflection(v, k, j);
    const { s } = topSvd(c, n, n, n);
    for (let i = 0; i < n; i++) expect(Math.abs(s[i]! - wanted[i]!)).toBeLessThan(5e-16);
  });

  it('leaves exactly the dropped values behind when truncated (Eckart-Young)', () => {
    const c = normals(30 * 22);
    const { s, relative } = residual(c, 30, 22, 5);
    expect(relative).toBeCloseTo(Math.sqrt(sumOfSquares(s.subarray(5)) / sumOfSquares(s)), 13);
  });

  it.each<[string, () => Float64Array]>([
    ['all ones', () => new Float64Array(36).fill(1)],
    ['rank two', () => Float64Array.from({ length: 36 }, (_, i) => (i % 6) + Math.floor(i / 6))],
    ['a zero column and a zero row', () => normals(36).map((v, i) => (i % 6 === 2 || i < 6 ? 0 : v))],
    ['diagonal with zeros', () => Float64Array.from({ length: 36 }, (_, i) => (i % 14 === 0 ? 1 + i : 0))],
    ['a nilpotent shift', () => Float64Array.from({ length: 36 }, (_, i) => (i % 7 === 1 ? 1 : 0))],
    ['the identity', () => Float64Array.from({ length: 36 }, (_, i) => (i % 7 === 0 ? 1 : 0))],
    ['graded', () => normals(36).map((v, i) => v * 1e-3 ** (i % 6))],
  ])('handles %s', (_, make) => {
    const { relative, orthogonality } = residual(make(), 6, 6, 6);
    expect(relative).toBeLessThan(1e-14);
    expect(orthogonality).toBeLessThan(1e-14);
  });

  it('gives zeros for a zero matrix', () => {
    const { s, us } = topSvd(new Float64Array(12), 4, 3, 2);
    expect([...s]).toEqual([0, 0, 0]);
    expect([...us]).toEqual(new Array(8).fill(0));
  });

  it.each([1e-160, 1e150])('is scale free: entries near %d', (scale) => {
    const c = normals(5 * 5);
    const { s } = topSvd(c, 5, 5, 5);
    const scaled = topSvd(
      c.map((v) => v * scale),
      5,
      5,
      5,
    );
    for (let i = 0; i < 5; i++) expect(scaled.s[i]! / scale / s[i]!).toBeCloseTo(1, 12);
  });

  it('survives a thousand small random sparse matrices', () => {
    for (let k = 0; k < 1000; k++) {
      const p = 1 + random.int(7);
      const q = 1 + random.int(7);
      const c = normals(p * q).map((v) => (random.uniform() < 0.6 ? 0 : Math.round(2 * v)));
      if (c.every((v) => v === 0)) continue;
      expect(residual(c, p, q, Math.min(p, q)).relative).toBeLessThan(1e-13);
    }
  });
});
