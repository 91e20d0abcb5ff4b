// npx vitest run test/core/linalg/nnls.test.ts
import { describe, expect, it } from 'vitest';
import { nonNegativeLeastSquares } from '../../../src/core/linalg/nnls.js';
import { gram } from '../../../src/core/linalg/products.js';
import { createRandom } from '../../../src/core/random.js';

const random = createRandom(5, 'nnls');
const normals = (count: number): Float64Array => Float64Array.from({ length: count }, () => random.normal());

function solve(columns: Float64Array, y: Float64Array, k: number): Float64Array {
  const n = y.length;
  const h = Float64Array.from({ length: k }, (_, i) => y.reduce((sum, v, t) => sum + v * columns[i * n + t]!, 0));
  return nonNegativeLeastSquares(gram(columns, k, n), h);
}

function squaredResidual(columns: Float64Array, y: Float64Array, x: Float64Array): number {
  const n = y.length;
  return y.reduce((sum, v, t) => sum + (v - x.reduce((s, xi, i) => s + xi * columns[i * n + t]!, 0)) ** 2, 0);
}

describe('nonNegativeLeastSquares', () => {
  it('finds an exact non-negative combination', () => {
    const columns = normals(4 * 20);
    const truth = [0.5, 0, 2, 0.25];
    const y = Float64Array.from({ length: 20 }, (_, t) => truth.reduce((s, x, i) => s + x * columns[i * 20 + t]!, 0));
    for (const [i, value] of solve(columns, y, 4).entries()) expect(value).toBeCloseTo(truth[i]!, 10);
  });

  it('fulfils the Kuhn-Tucker conditions on random problems, also with dependent columns', () => {
    for (let trial = 0; trial < 300; trial++) {
      const k = 1 + random.int(12);
      const n = 1 + random.int(10);
      const columns = normals(k * n);
      if (trial % 3 === 0 && k > 1) columns.copyWithin(n, 0, n); // the same column twice
      const y = normals(n);
      const x = solve(columns, y, k);
      const fitted = Float64Array.from({ length: n }, (_, t) =>
        x.reduce((s, xi, i) => s + xi * columns[i * n + t]!, 0),
      );
      for (let i = 0; i < k; i++) {
        expect(x[i]).toBeGreaterThanOrEqual(0);
        const gradient = y.reduce((sum, v, t) => sum + (v - fitted[t]!) * columns[i * n + t]!, 0);
        if (x[i]! > 0) expect(Math.abs(gradient)).toBeLessThan(1e-6);
        else expect(gradient).toBeLessThan(1e-6);
      }
    }
  });

  it('is not beaten by random non-negative points', () => {
    const columns = normals(3 * 8);
    const y = normals(8);
    const best = squaredResidual(columns, y, solve(columns, y, 3));
    for (let trial = 0; trial < 500; trial++) {
      const x = normals(3).map(Math.abs);
      expect(squaredResidual(columns, y, x)).toBeGreaterThanOrEqual(best - 1e-12);
    }
  });

  it('gives zeros when every column points away from the target', () => {
    expect([...solve(Float64Array.of(-1, 0, 0, -1), Float64Array.of(1, 1), 2)]).toEqual([0, 0]);
  });
});
