/** The gate against its textbook definition. */

import { describe, expect, it } from 'vitest';
import { gate, keepLargest, similaritiesTo } from '../../src/core/gate.js';

describe('gate', () => {
  it('gives the textbook values at tau 1', () => {
    const e = [Math.exp(1), Math.exp(2), Math.exp(3)];
    const sum = e.reduce((a, b) => a + b);
    gate([1, 2, 3], 1).forEach((p, i) => {
      expect(p).toBeCloseTo(e[i]! / sum, 12);
    });
  });

  it('neither overflows nor loses its sum at a small tau', () => {
    expect([...gate([0.9, 0.1, -1], 1e-4)]).toEqual([1, 0, 0]);
  });
});

it.each([Number.NaN, Number.POSITIVE_INFINITY])('no similarity is made of %d', (bad) => {
  const centroids = { data: Float32Array.of(1, 0, 0, 1), n: 2, d: 2 };
  expect([...similaritiesTo(Float32Array.of(2, 0), centroids)]).toEqual([1, 0]);
  for (const [x, data] of [
    [Float32Array.of(bad, 1), centroids.data],
    [Float32Array.of(1, 1), Float32Array.of(1, 0, bad, 1)],
  ] as const) {
    expect(() => similaritiesTo(x, { ...centroids, data })).toThrow(
      expect.objectContaining({ code: 'numbers-diverged' }),
    );
  }
});

describe('keepLargest', () => {
  it('takes the first of equals and goes by size, not sign', () => {
    expect([...keepLargest(Float64Array.of(0.25, 0.25, 0.25, 0.25), 2)]).toEqual([0.5, 0.5, 0, 0]);
    expect([...keepLargest(Float64Array.of(0.1, -2, 3), 2)].map((v) => v !== 0)).toEqual([false, true, true]);
  });
});
