// npx vitest run test/blend/coefficients.test.ts
import { describe, expect, it } from 'vitest';
import {
  coefficientsWithout,
  ESTIMATORS,
  type Estimator,
  estimateBlend,
  estimateCoefficients,
} from '../../src/blend/coefficients.js';
import { gate, type Rows, similaritiesTo } from '../../src/core/gate.js';
import type { Pool } from '../../src/pool/pool.js';

const rows = (...list: number[][]): Rows => ({
  data: Float32Array.from(list.flat()),
  n: list.length,
  d: list[0]!.length,
});

const centroids = rows([1, 0, 0], [0, 1, 0], [0, 0, 1], [0.6, 0.8, 0]);
const examples = rows([1, 0.1, 0], [0.9, 0, 0.1], [0, 0.2, 1]);
const evidence = { z: Float64Array.of(0.5, -1, 0, 2), lambda: 3 };
const estimate = (estimator: Estimator, options = {}) =>
  estimateCoefficients(estimator, examples, centroids, { tau: 0.1, evidence, ...options });

describe('estimateCoefficients', () => {
  it.each(ESTIMATORS.filter((estimator) => estimator !== 'given'))(
    '%s sums to one, without a negative',
    (estimator) => {
      const { coefficients } = estimate(estimator);
      expect(coefficients.reduce((a, b) => a + b, 0)).toBeCloseTo(1, 12);
      expect(coefficients.every((value) => value >= 0)).toBe(true);
    },
  );

  it('similarity is the softmax of the cosines over tau, by hand', () => {
    const mean = [1.9, 0.3, 1.1];
    const length = Math.hypot(...mean);
    const cosines = [1.9, 0.3, 1.1, 0.6 * 1.9 + 0.8 * 0.3].map((value) => value / length);
    const weights = cosines.map((value) => Math.exp(value / 0.1));
    const total = weights.reduce((a, b) => a + b);
    const { coefficients, similarities } = estimate('similarity');
    for (let n = 0; n < 4; n++) {
      expect(similarities![n]).toBeCloseTo(cosines[n]!, 6);
      expect(coefficients[n]).toBeCloseTo(weights[n]! / total, 6);
    }
  });

  it('mean-gate is the mean of each example’s own softmax: a user of two tasks gets both', () => {
    const uneven = rows([1, 0, 0], [0.99, 0.01, 0], [0.98, 0, 0.02], [0, 0, 1]);
    const alone = (i: number) => gate(similaritiesTo(uneven.data.subarray(3 * i, 3 * i + 3), centroids), 0.05);
    const { coefficients } = estimateCoefficients('mean-gate', uneven, centroids, { tau: 0.05 });
    for (let n = 0; n < 4; n++) {
      const wanted = [0, 1, 2, 3].reduce((sum, i) => sum + alone(i)[n]!, 0) / 4;
      expect(coefficients[n]).toBeCloseTo(wanted, 12);
    }
    expect(coefficients[2]).toBeCloseTo(0.25, 3);
    const { coefficients: fixed } = estimateCoefficients('similarity', uneven, centroids, { tau: 0.05 });
    expect(fixed[2]).toBeLessThan(0.01); // the mean of the embeddings follows the louder side
  });

  it('similarity is stable for a tiny tau and flat for a huge one', () => {
    expect([...estimate('similarity', { tau: 1e-12 }).coefficients]).toEqual([1, 0, 0, 0]);
    for (const value of estimate('similarity', { tau: 1e9 }).coefficients) expect(value).toBeCloseTo(0.25, 8);
  });

  it('nearest, uniform and given', () => {
    expect([...estimate('nearest').coefficients]).toEqual([1, 0, 0, 0]);
    expect([...estimate('uniform').coefficients]).toEqual([0.25, 0.25, 0.25, 0.25]);
    const given = { coefficients: [0.5, -1, 0, 2] };
    expect([...estimateCoefficients('given', null, centroids, { tau: 1, ...given }).coefficients]).toEqual([
      0.5, -1, 0, 2,
    ]);
  });

  it('topK keeps the largest and renormalises', () => {
    const full = estimate('similarity').coefficients;
    const { coefficients } = estimate('similarity', { topK: 2 });
    expect([...coefficients].filter((value) => value > 0)).toHaveLength(2);
    expect(coefficients.reduce((a, b) => a + b, 0)).toBeCloseTo(1, 12);
    expect(coefficients[0]! / coefficients[3]!).toBeCloseTo(full[0]! / full[3]!, 12);
  });

  it.each([
    ['given, too few', 'given', { coefficients: [1, 2] }, 'coefficients-invalid'],
    ['given, NaN', 'given', { coefficients: [1, Number.NaN, 0, 0] }, 'coefficients-invalid'],
    ['given, none', 'given', {}, 'coefficients-invalid'],
    ['no losses', 'label-evidence', { evidence: undefined }, 'bad-option'],
    ['tau zero', 'similarity', { tau: 0 }, 'bad-option'],
    ['tau NaN', 'similarity', { tau: Number.NaN }, 'bad-option'],
    ['top-k zero', 'similarity', { topK: 0 }, 'bad-option'],
    ['top-k above N', 'similarity', { topK: 5 }, 'bad-option'],
  ] as const)('refuses %s', (_, estimator, options, code) => {
    expect(() => estimate(estimator, options)).toThrow(expect.objectContaining({ code }));
  });

  it('refuses no examples and examples without a direction', () => {
    const none = { data: new Float32Array(0), n: 0, d: 3 };
    expect(() => estimateCoefficients('similarity', none, centroids, { tau: 1 })).toThrow(
      expect.objectContaining({ code: 'examples-count' }),
    );
    expect(() => estimateCoefficients('nearest', rows([1, 0, 0], [-1, 0, 0]), centroids, { tau: 1 })).toThrow(
      expect.objectContaining({ code: 'coefficients-invalid' }),
    );
  });
});

describe('label-evidence', () => {
  it('is the softmax of cos / tau - lambda z, by hand', () => {
    const { similarities, coefficients } = estimate('label-evidence');
    const weights = [...similarities!].map((cosine, n) => Math.exp(cosine / 0.1 - 3 * evidence.z[n]!));
    const total = weights.reduce((a, b) => a + b);
    for (const [n, weight] of weights.entries()) expect(coefficients[n]).toBeCloseTo(weight / total, 12);
    const plain = estimate('label-evidence', { evidence: { ...evidence, lambda: 0 } }).coefficients;
    for (const [n, alpha] of estimate('similarity').coefficients.entries()) expect(plain[n]).toBeCloseTo(alpha, 12);
  });
});

describe('coefficientsWithout', () => {
  const moments = { examples: 9, mean: [2, 2, 2, 2] };
  const standards = {
    similarity: { ...moments, deviation: 0.3 },
    loss: { ...moments, deviation: [1, 1, 2, 1] },
  };
  const clusters = Array(4).fill({ size: 20, similarity: { mean: 0.5, quantiles: [0, 0.1, 0.2, 0.5, 0.7, 0.9, 1] } });
  const manifest = { N: 4, tau: 0.1, embedding: { dim: 3 }, standards, clusters };
  const pool = { dir: 'p', manifest, centroids: centroids.data } as unknown as Pool;
  const losses = Float64Array.of(1, 2, 3, 4, 2, 3, 0, 1, 4, 1, 0, 2);

  it.each(['similarity', 'mean-gate', 'label-evidence', 'nearest'] as const)(
    '%s: as if the example had never been shown',
    (estimator) => {
      for (const choice of [{}, { standardise: true, tau: 0.7 }]) {
        const others = { rows: rows([1, 0.1, 0], [0, 0.2, 1]), losses: [1, 2, 3, 4, 4, 1, 0, 2] };
        const left = coefficientsWithout(pool, estimator, { rows: examples, losses }, [1], choice);
        const { coefficients } = estimateBlend(pool, estimator, others, choice);
        for (const [n, alpha] of left.entries()) expect(alpha).toBeCloseTo(coefficients[n]!, 6);
        const all = estimateBlend(pool, estimator, { rows: examples, losses }, choice).coefficients;
        if (estimator !== 'nearest') expect(all[0]).not.toBeCloseTo(coefficients[0]!, 3);
      }
    },
  );
});

describe('gate', () => {
  it('equals the similarity coefficients of a single example', () => {
    const one = rows([0.3, 0.9, 0.2]);
    const { coefficients } = estimateCoefficients('similarity', one, centroids, { tau: 0.2 });
    const gated = gate(similaritiesTo(one.data, centroids), 0.2);
    for (let n = 0; n < 4; n++) expect(gated[n]).toBeCloseTo(coefficients[n]!, 12);
  });

  it('is uniform for an embedding of zero', () => {
    expect([...gate(similaritiesTo(new Float32Array(3), centroids), 0.1)]).toEqual([0.25, 0.25, 0.25, 0.25]);
  });
});
