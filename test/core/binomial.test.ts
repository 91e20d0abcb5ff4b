import { describe, expect, it } from 'vitest';
import { binomialTail, casesNeeded, exactInterval, upperBound } from '../../src/core/binomial.js';

describe('binomial', () => {
  it.each([
    [7, 50, 0.2, 0.19040981158219006],
    [480, 1000, 0.5, 0.10872414660207075],
    [0, 29, 0.1, 0.04710128697246244],
    [5, 5, 0.3, 1],
    [2, 9, 0, 1],
    [2, 9, 1, 0],
  ])('P(X <= %i) of %i at %f is scipy 1.17.1 binom.cdf', (k, n, p, expected) => {
    expect(binomialTail(k, n, p)).toBeCloseTo(expected, 12);
  });

  // scipy.stats.beta.ppf(confidence, k + 1, n - k)
  it.each([
    [0, 29, 0.95, 0.0981446276772957],
    [0, 28, 0.95, 0.10146573557272467],
    [1, 46, 0.95, 0.099024316819898],
    [1, 45, 0.95, 0.10113378359391359],
    [3, 50, 0.9, 0.1287564225866019],
    [10, 100, 0.95, 0.16371762327581477],
    [250, 1000, 0.99, 0.28331489738846233],
    [0, 1, 0.95, 0.95],
    [4, 4, 0.95, 1],
  ])('the upper bound of %i in %i at %f is scipy’s', (k, n, confidence, expected) => {
    expect(upperBound(k, n, confidence)).toBeCloseTo(expected, 11);
  });

  // scipy.stats.binomtest(k, n).proportion_ci(0.95, 'exact')
  it.each([
    [8, 20, 0.19119006072557054, 0.6394574126927552],
    [0, 10, 0, 0.30849710781876294],
    [10, 10, 0.6915028921812371, 1],
    [37, 200, 0.13372866018013796, 0.24586346244867838],
  ])('the interval of %i in %i is scipy’s', (k, n, low, high) => {
    const found = exactInterval(k, n);
    expect(found.low).toBeCloseTo(low, 11);
    expect(found.high).toBeCloseTo(high, 11);
  });

  it('says how many cases a bound takes', () => {
    expect([0, 1, 2].map((k) => casesNeeded(k, 0.1, 0.95))).toEqual([29, 46, 61]);
    expect(casesNeeded(0, 0.05, 0.95)).toBe(59);
    expect(casesNeeded(0, 0.2, 0.95)).toBe(14);
    for (const k of [0, 3, 12]) {
      const n = casesNeeded(k, 0.1, 0.9);
      expect(upperBound(k, n, 0.9)).toBeLessThanOrEqual(0.1);
      expect(upperBound(k, n - 1, 0.9)).toBeGreaterThan(0.1);
    }
  });
});
