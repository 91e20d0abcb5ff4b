import { describe, expect, it } from 'vitest';
import { type OrderTerms, onGrid, readOrder } from '../../../src/serve/blends/order.js';

const DIGEST = 'd'.repeat(64);
const terms: OrderTerms = { manifest: { N: 3, tau: 0.1 }, digest: DIGEST, step: 0.01, rank: 16, hasGguf: false };

describe('onGrid', () => {
  it('gives multiples of the step whose sum is the nearest to theirs', () => {
    expect(onGrid([1 / 3, 1 / 3, 1 / 3], 0.01)).toEqual([0.34, 0.33, 0.33]);
    expect(onGrid([0.006, 0.006, 0.988], 0.01)).toEqual([0.01, 0, 0.99]);
    expect(onGrid([0.29, 0.57, 0.14], 0.01)).toEqual([0.29, 0.57, 0.14]);
    expect(onGrid([-0.305, 1.3, -0], 0.1)).toEqual([-0.3, 1.3, 0]);
  });

  it('brings users who are near each other together, and is where it was the second time', () => {
    const a = onGrid([0.701, 0.201, 0.098], 0.01);
    expect(onGrid([0.698, 0.203, 0.099], 0.01)).toEqual(a);
    expect(onGrid(a, 0.01)).toEqual(a);
  });

  it('is never further from a number than a step', () => {
    for (let seed = 1; seed < 200; seed++) {
      const values = [1, 2, 3, 4, 5, 6].map((k) => Math.abs(Math.sin(seed * k * 7.7)));
      const sum = values.reduce((s, x) => s + x, 0);
      const alpha = values.map((x) => x / sum);
      const rounded = onGrid(alpha, 0.02);
      expect(rounded.reduce((s, x) => s + x, 0)).toBeCloseTo(1, 9);
      expect(Math.max(...rounded.map((x, n) => Math.abs(x - alpha[n]!)))).toBeLessThan(0.02);
    }
  });
});

describe('readOrder', () => {
  it('takes coefficients, or similarities through the pool’s gate', () => {
    expect(readOrder({ coefficients: [0.7, 0.3, 0], pool: DIGEST }, terms)).toEqual({
      coefficients: [0.7, 0.3, 0],
      combine: 'cat',
      rank: null,
      form: 'safetensors',
      dtype: 'F32',
    });
    const { coefficients } = readOrder({ similarities: [0.9, 0.8, 0.1], top_k: 2, combine: 'svd:8' }, terms);
    expect(coefficients).toEqual([0.73, 0.27, 0]); // softmax of 9 and 8
  });

  it.each([
    [{}, 400, /either coefficients or similarities/],
    [{ coefficients: [1, 0, 0], similarities: [1, 0, 0] }, 400, /either/],
    [{ coefficients: [1, 0] }, 400, /has 2 numbers, expected 3/],
    [{ coefficients: [1, 0, 1e9] }, 400, /from -1000 to 1000/],
    [{ coefficients: ['a', 0, 0] }, 400, /coefficients\[0\]/],
    [{ similarities: [2, 0, 0] }, 400, /from -1 to 1/],
    [{ coefficients: [1, 0, 0], combine: 'linear' }, 400, /cat, svd or svd/],
    [{ coefficients: [1, 0, 0], combine: 'svd:17' }, 400, /at most 16/],
    [{ coefficients: [1, 0, 0], form: 'gguf' }, 400, /no base model/],
    [{ coefficients: [1, 0, 0], user: 'me' }, 400, /user/],
    [{ coefficients: [1, 0, 0], pool: 'e'.repeat(64) }, 409, /another pool/],
  ])('refuses %j', (body, status, message) => {
    let error: unknown;
    try {
      readOrder(body, terms);
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toMatchObject({ status, message: expect.stringMatching(message) });
  });
});
