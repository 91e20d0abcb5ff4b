/** The hybrid curve against numbers worked out by hand and against slow definitions that try every order. */

import { describe, expect, it } from 'vitest';
import { nestedWeights } from '../../../src/core/nested-mean.js';
import { createRandom } from '../../../src/core/random.js';
import { type BootstrapOptions, mean, randomGain } from '../../../src/core/stats.js';
import { hybridCurve, hybridIntervals, type Routable } from '../../../src/routing/calibrate/hybrid-curve.js';

const items = (edge: number[], server: number[], scores: number[]): Routable[] =>
  edge.map((e, i) => ({ edge: e, server: server[i]!, score: scores[i]! }));

/** Gains in order of score: +1 +1 0 -1 +1. */
const FIVE = items([0, 0, 1, 1, 0], [1, 1, 1, 0, 1], [1, 2, 3, 4, 5]);
const FIFTHS = [0, 0.2, 0.4, 0.6, 0.8, 1];

const permutations = <T>(all: T[]): T[][] =>
  all.length < 2 ? [all] : all.flatMap((x, i) => permutations(all.toSpliced(i, 1)).map((rest) => [x, ...rest]));

const close = (values: number[], expected: number[]) => {
  expect(values.length).toBe(expected.length);
  for (const [i, value] of values.entries()) expect(value).toBeCloseTo(expected[i]!, 12);
};

describe('hybridCurve', () => {
  it('sends the lowest scores first', () => {
    const curve = hybridCurve(FIVE, FIFTHS);
    expect(curve).toMatchObject({ examples: 5, edge: 0.4, server: 0.8 });
    close(
      curve.points.map((p) => p.routed),
      [0.4, 0.6, 0.8, 0.8, 0.6, 0.8],
    );
  });

  it('does not depend on the order of the examples', () => {
    const shuffled = createRandom(3).shuffle([...FIVE]);
    expect(hybridCurve(shuffled, FIFTHS)).toEqual(hybridCurve(FIVE, FIFTHS));
  });

  it('draws random routing as a straight line and the oracle as a plateau', () => {
    const { points } = hybridCurve(FIVE, FIFTHS);
    close(
      points.map((p) => p.random.estimate),
      [0.4, 0.48, 0.56, 0.64, 0.72, 0.8],
    );
    close(
      points.map((p) => p.oracle),
      [0.4, 0.6, 0.8, 1, 1, 1],
    );
  });

  it('is linear between whole queries', () => {
    close(
      hybridCurve(FIVE, [0.1, 0.7]).points.map((p) => p.routed),
      [0.5, 0.7],
    );
  });

  it('has the area between the edge and the curve as APGR', () => {
    // gains 0 1 2 2 1 2: trapezoids 0.5 + 1.5 + 2 + 1.5 + 1.5 = 7, of 5 queries times a gap of 2 answers
    expect(hybridCurve(FIVE).apgr).toBeCloseTo(0.7, 12);
    // gains 0 1 2 3 3 3: 0.5 + 1.5 + 2.5 + 3 + 3 = 10.5
    expect(hybridCurve(FIVE).oracleApgr).toBeCloseTo(1.05, 12);
  });

  it('equals the mean over all orders where scores are equal', () => {
    const tied = items([0, 1, 0, 1, 0, 0], [1, 0, 0, 1, 1, 1], [2, 2, 1, 2, 2, 3]);
    const orders = permutations([0, 1, 2, 3, 4, 5]).filter((order) =>
      order.every((i, k) => k === 0 || tied[order[k - 1]!]!.score <= tied[i]!.score),
    );
    expect(orders).toHaveLength(24);
    const slow = [0, 1, 2, 3, 4, 5, 6].map((m) =>
      mean(orders.map((order) => mean(tied.map((item, i) => (order.indexOf(i) < m ? item.server : item.edge))))),
    );
    const shares = [0, 1, 2, 3, 4, 5, 6].map((m) => m / 6);
    close(
      hybridCurve(tied, shares).points.map((p) => p.routed),
      slow,
    );
  });

  it('with one score for all is random routing: APGR 0.5', () => {
    const flat = FIVE.map((item) => ({ ...item, score: 7 }));
    const curve = hybridCurve(flat);
    expect(curve.apgr).toBeCloseTo(0.5, 12);
    close(
      curve.points.map((p) => p.routed),
      curve.points.map((p) => p.random.estimate),
    );
  });

  it.each([
    ['equal', [1, 0], [0, 1]],
    ['worse', [1, 1], [0, 1]],
  ])('has no APGR where the server is %s', (_, edge, server) => {
    const curve = hybridCurve(items(edge, server, [1, 2]));
    expect(curve.apgr).toBeNull();
    expect(curve.oracleApgr).toBeNull();
  });

  it('works on one example', () => {
    const { points, apgr } = hybridCurve(items([0], [1], [0]), [0, 0.5, 1]);
    close(
      points.map((p) => p.routed),
      [0, 0.5, 1],
    );
    expect(apgr).toBe(0.5);
  });

  it('refuses a score that is not a number', () => {
    expect(() => hybridCurve(items([0], [1], [Number.NaN]))).toThrow('not a number');
  });
});

describe('randomGain', () => {
  /** Quantile of the gains of all subsets of m of the n examples. */
  function slow(gains: number[], m: number, q: number): number {
    const totals: number[] = [];
    for (let set = 0; set < 2 ** gains.length; set++) {
      const chosen = gains.filter((_, i) => (set >> i) & 1);
      if (chosen.length === m) totals.push(chosen.reduce((a, b) => a + b, 0));
    }
    totals.sort((a, b) => a - b);
    return totals[Math.ceil(q * totals.length - 1e-9) - 1]!;
  }

  const gains = [1, 1, 1, 1, 1, -1, -1, 0, 0, 0, 0];
  it.each([1, 3, 5, 8, 10])('is exact for %i of 11 queries', (m) => {
    const found = randomGain({ better: 5, worse: 2, same: 4 }, m, 0.9);
    expect(found.low).toBe(slow(gains, m, 0.05));
    expect(found.high).toBe(slow(gains, m, 0.95));
    expect(found.mean).toBeCloseTo((m * 3) / 11, 12);
  });

  it('is certain where nothing or everything is sent', () => {
    expect(randomGain({ better: 5, worse: 2, same: 4 }, 0, 0.95)).toEqual({ mean: 0, low: 0, high: 0 });
    const all = randomGain({ better: 5, worse: 2, same: 4 }, 11, 0.95);
    expect(all).toMatchObject({ low: 3, high: 3 });
    expect(all.mean).toBeCloseTo(3, 12);
  });

  it('mixes two whole numbers of queries for a fraction', () => {
    // of one better and one same: half a query gains 1 with chance 1/4
    expect(randomGain({ better: 1, worse: 0, same: 1 }, 0.5, 0.4)).toMatchObject({ low: 0, high: 0 });
    const found = randomGain({ better: 1, worse: 0, same: 1 }, 0.5, 0.6);
    expect(found).toMatchObject({ low: 0, high: 1 });
    expect(found.mean).toBeCloseTo(0.25, 12);
  });

  it('has the right mean and spread for many examples', () => {
    const counts = { better: 3000, worse: 900, same: 6100 };
    const { mean: expected, low, high } = randomGain(counts, 2000, 0.95);
    expect(expected).toBeCloseTo(420, 6);
    // variance of a draw without replacement: m S^2 (n - m) / n
    const variance = ((2000 * (0.39 - 0.21 ** 2) * 10000) / 9999) * 0.8;
    expect(low).toBeCloseTo(420 - 1.96 * Math.sqrt(variance), -0.5);
    expect(high).toBeCloseTo(420 + 1.96 * Math.sqrt(variance), -0.5);
  });
});

/** Draws of examples within users of so many. */
const drawsOf = (sizes: number[], options: BootstrapOptions) =>
  nestedWeights(
    sizes.flatMap((size, unit) => Array.from({ length: size }, (_, i) => ({ unit, seed: 0, example: String(i) }))),
    options,
  );

describe('hybridIntervals', () => {
  const random = createRandom(1);
  const many: Routable[] = Array.from({ length: 400 }, () => {
    const edge = random.uniform() < 0.5 ? 1 : 0;
    // A router that sees most of what the edge gets wrong, and a server that is mostly right.
    return { edge, server: random.uniform() < 0.9 ? 1 : 0, score: edge + 0.8 * random.normal() };
  });
  const found = hybridIntervals(many, drawsOf([150, 250], { seed: 5, resamples: 500 }));

  it('has the curve as its estimates', () => {
    const curve = hybridCurve(
      many,
      found.shares.map((p) => p.share),
    );
    close([found.edge.estimate, found.server.estimate, found.apgr.estimate], [curve.edge, curve.server, curve.apgr!]);
    for (const [i, point] of found.shares.entries()) {
      const { routed, random: chance, oracle } = curve.points[i]!;
      close([point.routed.estimate, point.random.estimate, point.oracle.estimate], [routed, chance.estimate, oracle]);
      expect(point.overRandom.estimate).toBeCloseTo(routed - chance.estimate, 12);
      expect(point.recovered.estimate).toBeCloseTo((routed - curve.edge) / (curve.server - curve.edge), 12);
      expect(point.ofOracle.estimate).toBeCloseTo((routed - curve.edge) / (oracle - curve.edge), 12);
    }
  });

  it('has a width that a binomial of as many examples has', () => {
    const { estimate: p, low, high } = found.edge;
    expect((high - low) / 2).toBeCloseTo(1.96 * Math.sqrt((p * (1 - p)) / 400), 1.8);
    expect(low).toBeLessThan(p);
    expect(high).toBeGreaterThan(p);
  });

  it('tells a router that sees something from chance', () => {
    const at20 = found.shares.find((p) => p.share === 0.2)!;
    expect(at20.overRandom.low).toBeGreaterThan(0);
    expect(found.apgr.low).toBeGreaterThan(0.5);
  });

  it('is narrower for a difference, which is paired, than for its parts', () => {
    const { routed, random: chance, overRandom } = found.shares[0]!;
    const width = (x: { low: number; high: number }) => x.high - x.low;
    expect(width(overRandom)).toBeLessThan(width(routed) + width(chance));
    expect(width(overRandom)).toBeLessThan(width(routed));
  });

  it('is the same for the same seed, and another for another', () => {
    expect(hybridIntervals(many, drawsOf([150, 250], { seed: 5, resamples: 500 }))).toEqual(found);
    expect(hybridIntervals(many, drawsOf([150, 250], { seed: 6, resamples: 500 }))).not.toEqual(found);
  });

  it('draws within the strata: one that never varies adds no width', () => {
    const certain = Array.from({ length: 50 }, () => ({ edge: 0, server: 1, score: 0 }));
    const mixed = [0, 1, 0, 1].map((edge) => ({ edge, server: 1, score: 1 }));
    const { edge } = hybridIntervals([...certain, ...mixed], drawsOf([50, 4], { seed: 0, resamples: 300 }));
    expect(edge.estimate).toBeCloseTo(2 / 54, 12);
    expect(edge.high).toBeLessThanOrEqual(4 / 54);
  });

  it('has no recovered share where no draw has a gap', () => {
    const { apgr, shares } = hybridIntervals(items([1, 1], [0, 1], [1, 2]), drawsOf([2], { seed: 0, resamples: 50 }));
    expect(apgr.estimate).toBeNaN();
    expect(shares[0]!.recovered.low).toBeNaN();
  });
});
