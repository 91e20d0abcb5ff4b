import { describe, expect, it } from 'vitest';
import { fitLogistic, logisticProbability } from '../../src/core/logistic.js';

// scikit-learn 1.x, LogisticRegression(C=1, tol=1e-12) on the standardised columns, brought back to their own units.
const X = [1.251, 46.037, 2.281, 53.147, -0.071, 60.848, 3.608, 78.412, -0.407, 12.037, -0.247, 51.24, -3.65, 43.436]
  .concat([-1.492, 28.032, -0.089, 40.511, 1.823, 81.275, 0.743, 90.994, -0.33, 60.545, 2.807, 52.82, -0.487, 22.348])
  .concat([0.085, 56.606, -1.019, 43.725, 0.682, 66.225, 1.429, 60.661, -0.308, 46.112, 2.568, 94.803, -1.518, 95.418])
  .concat([3.692, 73.439, 1.529, 40.582, 3.916, 108.808, 4.603, 89.453, 1.715, 13.75, 0.991, 69.694, -1.577, 61.854])
  .concat([1.86, 70.881, -1.368, 30.149, 0.127, 14.906, 4.479, 35.123, 1.658, 42.243, 4.167, 89.611, 2.267, -16.105])
  .concat([1.104, 70.511, 3.008, 31.463, 4.644, 10.387, -0.323, 78.051, 1.098, 110.072]);
const rows = Array.from({ length: 40 }, (_, i) => [X[2 * i]!, X[2 * i + 1]!]);
const labels = [...'0001000000100010000101111010110101010111'].map(Number);

describe('fitLogistic', () => {
  it('finds what scikit-learn finds', () => {
    const { intercept, weights } = fitLogistic(rows, labels);
    expect(intercept).toBeCloseTo(-2.806469829883548, 6);
    expect(weights[0]).toBeCloseTo(0.5110714048642259, 6);
    expect(weights[1]).toBeCloseTo(0.03308773963094069, 7);
  });

  it('gives a feature that does not vary no weight, and one class alone a cautious constant', () => {
    const constant = fitLogistic(
      rows.map(([a]) => [a!, 7]),
      labels,
    );
    expect(constant.weights[1]).toBe(0);
    const model = fitLogistic([[1], [2], [3]], [1, 1, 1]);
    expect(model).toEqual({ intercept: Math.log(4), weights: [0] });
    expect(logisticProbability(model, [100])).toBeCloseTo(0.8, 12);
  });

  it('stays finite where the classes are far apart, and far out', () => {
    const model = fitLogistic([[0], [1], [1000], [1001]], [0, 0, 1, 1]);
    expect(model.weights.every(Number.isFinite)).toBe(true);
    expect(logisticProbability(model, [1e9])).toBe(1);
    expect(logisticProbability(model, [-1e9])).toBe(0);
  });
});
