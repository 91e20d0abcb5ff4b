/** Means and intervals of experiments that are repeated with seeds: against hand computation, known spreads and each other. */

import { describe, expect, it } from 'vitest';
import { meanOfNested, type NestedScore, nestedMean, nestedWeights } from '../../src/core/nested-mean.js';
import { createRandom } from '../../src/core/random.js';
import { bootstrapStrata, mean, percentileInterval } from '../../src/core/stats.js';

const score = (seed: number, draw: number, example: string, value: number): NestedScore => ({
  seed,
  draw,
  example,
  value,
});
const scores = (seed: number, draw: number, values: readonly number[], name = '') =>
  values.map((value, i) => score(seed, draw, `${name}${i}`, value));

describe('meanOfNested', () => {
  it('counts every unit alike, every seed of it, every draw of that, every example of that', () => {
    const first = [...scores(0, 0, [1, 1, 1, 0]), ...scores(1, 0, [0, 0]), ...scores(1, 1, [1, 0])];
    // seed 0: 0.75; seed 1: (0 + 0.5) / 2 = 0.25
    expect(meanOfNested([first])).toBe(0.5);
    expect(meanOfNested([first, scores(0, 0, [1])])).toBe(0.75);
  });
});

describe('nestedMean', () => {
  const options = { seed: 4, resamples: 400 };
  const random = createRandom(1, 'values');
  const bits = (n: number) => Array.from({ length: n }, () => Number(random.uniform() < 0.6));
  const width = ({ low, high }: { low: number; high: number }) => high - low;

  it('of one seed and one draw is the bootstrap of examples within each unit', () => {
    const units = [bits(40), bits(25)];
    const statistic = (weights: Int32Array) => {
      const weighted = units.map((values, u) => {
        const start = u * units[0]!.length;
        return values.reduce((sum, value, i) => sum + weights[start + i]! * value, 0) / values.length;
      });
      return [mean(weighted)];
    };
    const [plain] = bootstrapStrata([40, 25], statistic, options);
    const units01 = units.map((values) => scores(7, 3, values));
    expect(nestedMean(units01, options)).toEqual(plain);
    // drawn once more, for other options
    expect(nestedMean(units01, { ...options })).toEqual(plain);
  });

  it('is wider where seeds differ, though their examples are as many', () => {
    const same = [0, 1, 2].flatMap((seed) => scores(seed, 0, bits(200), `${seed} `));
    const apart = same.map((one) => ({ ...one, value: one.value + 0.3 * one.seed }));
    expect(width(nestedMean([same], options))).toBeLessThan(0.12);
    expect(width(nestedMean([apart], options))).toBeGreaterThan(0.4);
  });

  it('draws the same seeds for all units: what a seed does to all of them does not average out', () => {
    const units = Array.from({ length: 8 }, () => [0, 1, 2].flatMap((seed) => scores(seed, 0, [seed, seed, seed])));
    const { low, high, estimate } = nestedMean(units, { seed: 4, resamples: 2000 });
    // of the 27 ways to draw 3 of 3 seeds one is all zeros and one all twos: 3.7 % each, more than the 2.5 % of a tail
    expect([low, estimate, high]).toEqual([0, 1, 2]);
  });

  it('does not take an example for several because several draws answer it', () => {
    const values = bits(60);
    const of = (...all: NestedScore[][]) => width(nestedMean([all.flat()], { seed: 4, resamples: 2000 }));
    const once = of(scores(0, 0, values));
    for (const twice of [
      of(scores(0, 0, values), scores(0, 1, values)), // nor because several seeds do
      of(scores(0, 0, values), scores(1, 0, values)),
    ]) {
      expect(twice / once).toBeGreaterThan(0.9);
      expect(twice / once).toBeLessThan(1.1);
    }
    const others = of(scores(0, 0, values), scores(0, 0, values, 'other '));
    expect(others / once).toBeLessThan(0.8); // 1 / sqrt(2)
  });

  it('leaves out a unit whose seeds were not drawn', () => {
    const some = nestedMean([scores(0, 0, [1, 1]), [...scores(0, 0, [0, 0]), ...scores(1, 0, [0, 0])]], options);
    expect(some.estimate).toBe(0.5);
    expect([some.low, some.high]).toEqual([0, 0.5]);
  });

  it('has the truth inside about as often as it says, or more', { tags: 'slow' }, () => {
    let covered = 0;
    for (let t = 0; t < 60; t++) {
      const units = Array.from({ length: 4 }, () => [] as NestedScore[]);
      for (const seed of [0, 1, 2]) {
        const ofSeed = 0.05 * random.normal();
        for (const unit of units) {
          const values = Array.from({ length: 20 }, () => ofSeed + 0.5 * random.normal());
          unit.push(...scores(seed, 0, values, `${seed} `));
        }
      }
      const { low, high } = nestedMean(units, { seed: t, resamples: 200 });
      if (low <= 0 && high >= 0) covered++;
    }
    expect(covered / 60).toBeGreaterThan(0.9);
  });
});

describe('nestedWeights', () => {
  const options = { seed: 4, resamples: 200 };

  it('counts an example by how often it and its seed were drawn', () => {
    const values = [0, 1, 2].map((seed) => [1, 0, 1, 1, 0].map((bit) => bit * (seed + 1)));
    const items = values.flatMap((ofSeed, seed) => scores(seed, 0, ofSeed).map((one) => ({ ...one, unit: 0 })));
    const draws = nestedWeights(items, options);
    // a seed counts its examples alike at every draw: their ratio between two seeds is that of the seeds
    for (const [first, second] of draws.map((drawn) => [drawn.slice(0, 5), drawn.slice(5, 10)] as const)) {
      const [a, b] = [first, second].map((of) => of.reduce((x, y) => x + y, 0));
      expect([...first].map((x) => x * b!)).toEqual([...second].map((x) => x * a!));
    }
    const means = draws.map((drawn) => {
      const total = drawn.reduce((x, y) => x + y, 0);
      return items.reduce((sum, { value }, i) => sum + drawn[i]! * value, 0) / total;
    });
    const found = percentileInterval(mean(items.map(({ value }) => value)), Float64Array.from(means));
    const { estimate, low, high } = nestedMean([items], options);
    expect(found.estimate).toBeCloseTo(estimate, 12);
    expect(found.low).toBeCloseTo(low, 12);
    expect(found.high).toBeCloseTo(high, 12);
  });

  it('draws within each unit, and takes one seed as fixed', () => {
    const items = [3, 5].flatMap((size, unit) => scores(9, 0, Array(size).fill(1)).map((one) => ({ ...one, unit })));
    for (const drawn of nestedWeights(items, options)) {
      expect(drawn.slice(0, 3).reduce((a, b) => a + b)).toBe(3);
      expect(drawn.slice(3).reduce((a, b) => a + b)).toBe(5);
    }
  });
});
