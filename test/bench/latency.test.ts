/** Percentiles against numbers worked out by hand (numpy.percentile gives the same). */

import { describe, expect, it } from 'vitest';
import { latencyBox, meanOfSummaries, percentile, summariseLatency } from '../../src/bench/latency.js';

const hundred = Array.from({ length: 100 }, (_, i) => 100 - i); // 100 .. 1

describe('summariseLatency', () => {
  it('interpolates between the nearest ranks', () => {
    const summary = summariseLatency(hundred);
    expect(summary.mean).toBe(50.5);
    expect(summary.p50).toBe(50.5);
    expect(summary.p90).toBeCloseTo(90.1, 12);
    expect(summary.p95).toBeCloseTo(95.05, 12);
    expect(summary.p99).toBeCloseTo(99.01, 12);
  });

  it('sorts as numbers: 9 before 10 before 100', () => {
    expect(summariseLatency([100, 9, 10]).p50).toBe(10);
  });

  it('of one value is that value', () => {
    expect(summariseLatency([7])).toEqual({ mean: 7, p50: 7, p90: 7, p95: 7, p99: 7 });
  });

  it('leaves its input as it was', () => {
    const values = [3, 1, 2];
    summariseLatency(values);
    expect(values).toEqual([3, 1, 2]);
  });

  it('of nothing is a defect of the caller', () => {
    expect(() => summariseLatency([])).toThrow('no values');
  });
});

describe('percentile', () => {
  it.each([
    [0, 1],
    [25, 1.75],
    [50, 2.5],
    [100, 4],
  ])('%i of 4, 3, 2, 1 is %d', (p, expected) => {
    expect(percentile([4, 3, 2, 1], p)).toBe(expected);
  });

  it.each([-1, 101, Number.NaN])('%d is refused', (p) => {
    expect(() => percentile([1], p)).toThrow('percentile');
  });
});

describe('latencyBox', () => {
  it('has the quartiles and the tails', () => {
    const values = Array.from({ length: 101 }, (_, i) => i);
    expect(latencyBox(values)).toEqual({ count: 101, lower: { p5: 5, p25: 25, p75: 75 }, p50: 50, p95: 95, p99: 99 });
  });

  it('of summaries has means of percentiles, and says nothing of the lower half', () => {
    const summaries = [summariseLatency([1, 2, 3]), summariseLatency([11, 12, 13])];
    const { count, lower, p50 } = meanOfSummaries(summaries);
    expect({ count, lower, p50 }).toEqual({ count: null, lower: null, p50: 7 });
  });
});
