// npx vitest run test/core/linalg/products.test.ts
import { describe, expect, it } from 'vitest';
import { cholesky, combineVectors, gram, multiplyTransposed } from '../../../src/core/linalg/products.js';
import { householderQr, type ThinQr, thinQr, transpose } from '../../../src/core/linalg/qr.js';
import { createRandom } from '../../../src/core/random.js';

const random = createRandom(7, 'linalg');
const normals = (count: number): Float64Array => Float64Array.from({ length: count }, () => random.normal());

/** X Y^T the slow way. */
function slowProduct(x: Float64Array, p: number, y: Float64Array, q: number, n: number): Float64Array {
  const result = new Float64Array(p * q);
  for (let i = 0; i < p; i++)
    for (let j = 0; j < q; j++) for (let t = 0; t < n; t++) result[i * q + j]! += x[i * n + t]! * y[j * n + t]!;
  return result;
}

function largestDifference(x: Float64Array, y: Float64Array): number {
  expect(x.length).toBe(y.length);
  return x.reduce((worst, value, i) => Math.max(worst, Math.abs(value - y[i]!)), 0);
}

describe('blocked products', () => {
  it.each([
    [1, 1, 1],
    [4, 4, 256],
    [5, 3, 7],
    [9, 14, 300],
    [3, 8, 513],
    [0, 2, 3],
  ])('multiplyTransposed of (%i, n) and (%i, n), n = %i, equals the plain triple loop', (p, q, n) => {
    const x = normals(p * n);
    const y = normals(q * n);
    expect(largestDifference(multiplyTransposed(x, p, y, q, n), slowProduct(x, p, y, q, n))).toBeLessThan(1e-12);
  });

  it.each([1, 2, 4, 7, 12, 13])('gram of %i vectors is the full symmetric product', (k) => {
    const x = normals(k * 301);
    expect(largestDifference(gram(x, k, 301), slowProduct(x, k, x, k, 301))).toBeLessThan(1e-12);
  });

  it.each([
    [3, 6, 300],
    [1, 4, 5],
    [5, 3, 257],
  ])('combineVectors makes %i sums of %i vectors of length %i', (m, k, n) => {
    const w = normals(m * k);
    const x = normals(k * n);
    const expected = slowProduct(w, m, transpose(x, k, n), n, k);
    expect(largestDifference(combineVectors(w, m, x, k, n), expected)).toBeLessThan(1e-12);
  });
});

describe('cholesky', () => {
  it('factorises a Gram matrix', () => {
    const k = 6;
    const g = gram(normals(k * 20), k, 20);
    const l = cholesky(g, k, 1e-6)!;
    expect(largestDifference(slowProduct(l, k, l, k, k), g)).toBeLessThan(1e-12);
  });

  it('refuses dependent vectors whatever their lengths', () => {
    const x = normals(2 * 10);
    const dependent = Float64Array.from([...x, ...x.subarray(0, 10).map((v) => v * 1e-9)]);
    expect(cholesky(gram(dependent, 3, 10), 3, 1e-6)).toBeNull();
    const independent = Float64Array.from([...x, ...normals(10).map((v) => v * 1e-9)]);
    expect(cholesky(gram(independent, 3, 10), 3, 1e-6)).not.toBeNull();
  });
});

describe('thinQr', () => {
  /** R^T R is the Gram matrix, relative to the lengths of the vectors, and R is upper triangular where it is square. */
  function check(qr: ThinQr, x: Float64Array, k: number, n: number): void {
    const columns = transpose(qr.r, qr.p, k);
    const lengths = Array.from({ length: k }, (_, j) => Math.hypot(...x.subarray(j * n, (j + 1) * n)) || 1);
    const unit = (y: Float64Array, size: number) => y.map((value, i) => value / lengths[Math.floor(i / size)]!);
    const expected = gram(unit(x, n), k, n);
    expect(largestDifference(gram(unit(columns, qr.p), k, qr.p), expected)).toBeLessThan(1e-13);
    if (qr.method === 'identity') return;
    for (let i = 0; i < k; i++) for (let j = 0; j < i; j++) expect(qr.r[i * k + j]).toBe(0);
  }

  it('takes the identity when there are as many vectors as entries', () => {
    const x = normals(9 * 4);
    const qr = thinQr(x, 9, 4);
    expect(qr.method).toBe('identity');
    check(qr, x, 9, 4);
  });

  it('takes Cholesky for independent vectors, of any lengths', () => {
    const x = normals(6 * 300).map((v, i) => v * 10 ** (Math.floor(i / 300) * 3 - 9));
    const qr = thinQr(x, 6, 300);
    expect(qr.method).toBe('cholesky');
    check(qr, x, 6, 300);
  });

  it('takes Householder reflections for repeated vectors', () => {
    const half = normals(3 * 50);
    const x = Float64Array.from([...half, ...half]);
    const qr = thinQr(x, 6, 50);
    expect(qr.method).toBe('householder');
    check(qr, x, 6, 50);
  });

  it('survives zero, huge and tiny vectors', () => {
    check(householderQr(new Float64Array(2 * 5), 2, 5), new Float64Array(2 * 5), 2, 5);
    const tiny = normals(2 * 5).map((v) => v * 1e-200);
    check(householderQr(tiny, 2, 5), tiny, 2, 5);
    const huge = normals(2 * 5).map((v) => v * 1e200);
    check(householderQr(huge, 2, 5), huge, 2, 5);
  });
});
