/** The gate against its textbook definition. */

import { describe, expect, it } from 'vitest';
import { dropSmall, gate, keepFew, keepLargest, rowNorms, similaritiesTo } from '../../src/core/gate.js';
import { createRandom } from '../../src/core/random.js';
import { cosine } from '../../src/core/vector.js';

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

describe('dropSmall', () => {
  it('drops what is below a share of the largest, and keeps the sum', () => {
    const alpha = Float64Array.of(0.5, 0.04, 0.06, 0.4);
    const kept = dropSmall(alpha, 0.1);
    expect(Array.from(kept, (a) => a > 0)).toEqual([true, false, true, true]);
    expect(kept.reduce((a, b) => a + b, 0)).toBeCloseTo(1, 12);
    expect(kept[0]! / kept[3]!).toBeCloseTo(1.25, 12);
    expect(dropSmall(alpha, 0)).toEqual(alpha);
    expect([...dropSmall(new Float64Array(3).fill(1 / 3), 1)]).toEqual([1 / 3, 1 / 3, 1 / 3]);
    expect([...dropSmall(new Float64Array(2), 0.5)]).toEqual([0, 0]);
  });
});

describe('keepFew', () => {
  it('keeps the largest so many, of these what is not small, and the sum', () => {
    const alpha = Float64Array.of(0.02, 0.5, 0.1, 0.38);
    const kept = (topK: number | null, dropBelow = 0) => [...keepFew(alpha, { topK, dropBelow })];
    for (const all of [null, 4, 9]) expect(kept(all)).toEqual([...alpha]);
    expect(kept(1)).toEqual([0, 1, 0, 0]);
    const [zero, most, none, next] = kept(2);
    expect([zero, none]).toEqual([0, 0]);
    expect(most! + next!).toBeCloseTo(1, 12);
    expect(most! / next!).toBeCloseTo(0.5 / 0.38, 12);
    expect(kept(3, 0.5).map((a) => a > 0)).toEqual([false, true, false, true]);
    expect(kept(null, 0.1).filter((a) => a > 0)).toHaveLength(3);
  });
});

describe('similaritiesTo', () => {
  it('passes over zeros without changing a bit', () => {
    const random = createRandom(3, 'gate');
    const [n, d] = [4, 300];
    const rows = { data: new Float32Array(n * d).map(() => random.normal()), n, d };
    for (const share of [0, 0.02, 0.2, 0.3, 1]) {
      const x = new Float32Array(d).map(() => (random.uniform() < share ? random.normal() : 0));
      const dense = Array.from({ length: n }, (_, i) => cosine(x, rows.data.subarray(i * d, (i + 1) * d)));
      expect([...similaritiesTo(x, rows)]).toEqual(dense);
      expect([...similaritiesTo(x, rows, rowNorms(rows))]).toEqual(dense);
    }
    rows.data[5] = Number.NaN;
    const x = new Float32Array(d);
    x[0] = 1;
    expect(() => similaritiesTo(x, rows)).toThrow(expect.objectContaining({ code: 'numbers-diverged' }));
  });
});
