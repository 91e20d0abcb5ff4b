// npx vitest run test/blend/coefficients.test.ts
import { describe, expect, it } from 'vitest';
import { ESTIMATORS, type Estimator, estimateCoefficients, keepLargest } from '../../src/blend/coefficients.js';
import { gate, type Rows, similaritiesTo } from '../../src/core/gate.js';

const rows = (...list: number[][]): Rows => ({
  data: Float32Array.from(list.flat()),
  n: list.length,
  d: list[0]!.length,
});

const centroids = rows([1, 0, 0], [0, 1, 0], [0, 0, 1], [0.6, 0.8, 0]);
const examples = rows([1, 0.1, 0], [0.9, 0, 0.1], [0, 0.2, 1]);
const estimate = (estimator: Estimator, options = {}) =>
  estimateCoefficients(estimator, examples, centroids, { tau: 0.1, ...options });

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

describe('keepLargest', () => {
  it('takes the first of equals and goes by size, not sign', () => {
    expect([...keepLargest(Float64Array.of(0.25, 0.25, 0.25, 0.25), 2)]).toEqual([0.5, 0.5, 0, 0]);
    expect([...keepLargest(Float64Array.of(0.1, -2, 3), 2)].map((v) => v !== 0)).toEqual([false, true, true]);
  });
});
