import { describe, expect, it } from 'vitest';
import { createRandom } from '../../src/core/random.js';
import { bootstrap, bootstrapInterval, bootstrapStrata, mean, quantile, standardError } from '../../src/core/stats.js';

describe('bootstrap', () => {
  it('is a function of its seed', () => {
    const values = [0.1, 0.5, 0.9, 0.3, 0.7];
    const options = { resamples: 200, seed: 4 };
    expect(bootstrapInterval(values, options)).toEqual(bootstrapInterval(values, options));
    expect(bootstrapInterval(values, { ...options, seed: 5 })).not.toEqual(bootstrapInterval(values, options));
  });

  it('is a point where all values are equal, and widens with the level', () => {
    expect(bootstrapInterval([2, 2, 2], { seed: 1 })).toEqual({ estimate: 2, low: 2, high: 2 });
    const values = [0, 1, 2, 3, 4, 5, 6, 7];
    const narrow = bootstrapInterval(values, { seed: 1, level: 0.5 });
    const wide = bootstrapInterval(values, { seed: 1, level: 0.99 });
    expect(wide.low).toBeLessThan(narrow.low);
    expect(wide.high).toBeGreaterThan(narrow.high);
    expect(narrow.estimate).toBe(3.5);
  });

  it('finds the interval that the normal approximation gives for a share', () => {
    const values = Array.from({ length: 400 }, (_, i) => (i < 120 ? 1 : 0));
    const { estimate, low, high } = bootstrapInterval(values, { seed: 2 });
    const halfWidth = 1.96 * Math.sqrt((0.3 * 0.7) / 400);
    expect(estimate).toBeCloseTo(0.3, 12);
    expect(Math.abs(low - (0.3 - halfWidth))).toBeLessThan(0.006);
    expect(Math.abs(high - (0.3 + halfWidth))).toBeLessThan(0.006);
  });

  it('covers the true mean about as often as it says', () => {
    const random = createRandom(11);
    let covered = 0;
    for (let i = 0; i < 200; i++) {
      const values = Array.from({ length: 60 }, () => random.normal());
      const { low, high } = bootstrapInterval(values, { seed: i, resamples: 300, level: 0.9 });
      if (low <= 0 && 0 <= high) covered++;
    }
    expect(covered / 200).toBeGreaterThan(0.82);
    expect(covered / 200).toBeLessThan(0.97);
  });

  it('keeps pairs together: the difference of paired values may be certain though each is not', () => {
    const a = Array.from({ length: 50 }, (_, i) => i);
    const b = a.map((x) => x - 0.25);
    const weighted = (values: number[], weights: Int32Array) =>
      values.reduce((sum, value, i) => sum + weights[i]! * value, 0) / values.length;
    const statistics = (weights: Int32Array) => [weighted(a, weights), weighted(a, weights) - weighted(b, weights)];
    const [alone, difference] = bootstrapStrata([20, 30], statistics, { seed: 3 });
    expect(alone!.high - alone!.low).toBeGreaterThan(1);
    for (const end of Object.values(difference!)) expect(end).toBeCloseTo(0.25, 12);
  });

  it('leaves out draws whose statistic has no value', () => {
    // A ratio that is 0 / 0 whenever the one item that counts was not drawn.
    const weights = [1, 0, 0];
    const ratio = (at: Int32Array) => at.reduce((s, i) => s + weights[i]!, 0) / at.reduce((s, i) => s + weights[i]!, 0);
    expect(bootstrap(3, ratio, { seed: 1 })).toEqual({ estimate: 1, low: 1, high: 1 });
    const { low } = bootstrap(3, () => Number.NaN, { seed: 1, resamples: 10 });
    expect(low).toBeNaN();
  });
});

describe('mean and quantile', () => {
  it('agree with hand computation', () => {
    expect(mean([1, 2, 6])).toBe(3);
    expect(mean([])).toBeNaN();
    expect(quantile([0, 10, 20], 0.25)).toBe(5);
  });
});

describe('quantile and standardError', () => {
  it('interpolates quantiles as numpy does', () => {
    expect(quantile([1, 2, 3, 4], 0.25)).toBe(1.75); // numpy.quantile([1,2,3,4], .25)
    expect(quantile([1, 2, 3, 4], 1)).toBe(4);
    expect(quantile([5], 0.3)).toBe(5);
  });

  it('has the standard error of a sample', () => {
    expect(standardError([1, 2, 3, 4])).toBeCloseTo(0.6454972, 6); // scipy.stats.sem
  });
});
