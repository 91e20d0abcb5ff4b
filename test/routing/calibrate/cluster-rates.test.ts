import { describe, expect, it } from 'vitest';
import { createRandom } from '../../../src/core/random.js';
import { clusterRates } from '../../../src/routing/calibrate/cluster-rates.js';
import { expectedRate } from '../../../src/routing/signals/success.js';

const one = (cluster: number, of = 3) => Array.from({ length: of }, (_, n) => (n === cluster ? 1 : 0));

describe('clusterRates', () => {
  it('are the mean of the beta posterior: 7 of 10 under Beta(2, 2) are 9 of 14', () => {
    // Overall half are right, so a prior of strength 4 is Beta(2, 2); the second cluster has 3 of 10.
    const gates = [...Array(10).fill(one(0)), ...Array(10).fill(one(1))];
    const right = [...'11111110001110000000'].map(Number);
    const { rates } = clusterRates(gates, right, [4]);
    expect(rates).toEqual([9 / 14, 5 / 14, 0.5]); // of a cluster without answers: the overall rate
  });

  it('count an answer in each cluster by its gate', () => {
    const gates = [
      [0.75, 0.25],
      [0.5, 0.5],
    ];
    const { rates } = clusterRates(gates, [1, 0], [1]);
    expect(rates[0]).toBeCloseTo((0.5 + 0.75) / (1 + 1.25), 12);
    expect(rates[1]).toBeCloseTo((0.5 + 0.25) / (1 + 0.75), 12);
  });

  it('understand scores between right and wrong', () => {
    expect(clusterRates([one(0, 1), one(0, 1)], [0.5, 1], [2]).rates).toEqual([0.75]);
  });

  it('of clusters that differ have a weak prior, of clusters that tell nothing a strong one', () => {
    const random = createRandom(1);
    const gates = Array.from({ length: 300 }, (_, i) => one(i % 3));
    const telling = gates.map((_, i) => (random.uniform() < [0.05, 0.5, 0.95][i % 3]! ? 1 : 0));
    const nothing = gates.map(() => (random.uniform() < 0.5 ? 1 : 0));
    expect(clusterRates(gates, telling).strength).toBeLessThanOrEqual(2);
    expect(clusterRates(gates, nothing).strength).toBeGreaterThanOrEqual(32);
  });

  it('rank a new user of known clusters whose answers were never counted', () => {
    // User u of four asks of clusters u and u + 1; the new one asks of 0 and 3, as none of them does.
    const [good, bad] = [0.9, 0.1];
    const rateOf = [good, good, bad, bad];
    const random = createRandom(2);
    const counted = Array.from({ length: 400 }, (_, i) => Math.min(3, Math.floor(i / 100) + (i % 2)));
    const { rates } = clusterRates(
      counted.map((c) => one(c, 4)),
      counted.map((c) => (random.uniform() < rateOf[c]! ? 1 : 0)),
    );
    expect(expectedRate(rates, one(0, 4))).toBeGreaterThan(0.8);
    expect(expectedRate(rates, one(3, 4))).toBeLessThan(0.2);
  });

  it('of a pool of one tell its queries from strays', () => {
    const gates = [...Array(20).fill([1, 0]), ...Array(20).fill([0, 1])];
    const { rates } = clusterRates(gates, [...Array(20).fill(1), ...Array(20).fill(0)]);
    expect(rates[0]).toBeGreaterThan(0.95);
    expect(rates[1]).toBeLessThan(0.05);
  });

  it('of one answer are that answer, and of none cannot be', () => {
    expect(clusterRates([[0.5, 0.5]], [1]).rates).toEqual([1, 1]);
    expect(() => clusterRates([], [])).toThrow(/at least one answer/);
    expect(() => clusterRates([[1], [0.5, 0.5]], [1, 1])).toThrow(/several pools/);
  });
});
