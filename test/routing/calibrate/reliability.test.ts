import { describe, expect, it } from 'vitest';
import { createRandom } from '../../../src/core/random.js';
import { equalMassBins, logLossOf, reliability } from '../../../src/routing/calibrate/reliability.js';

/** Answers that are right with chance p - `boast` where p is said. */
function answers(n: number, boast: number, seed: number) {
  const random = createRandom(seed);
  const probabilities = Array.from({ length: n }, () => boast + (1 - boast) * random.uniform());
  return { probabilities, labels: probabilities.map((p) => (random.uniform() < p - boast ? 1 : 0)) };
}

const OPTIONS = { seed: 0, resamples: 300 };

describe('equalMassBins', () => {
  it('shares the values out equally, in their order', () => {
    expect([...equalMassBins([0.9, 0.1, 0.5, 0.3, 0.7, 0.2], 3)]).toEqual([2, 0, 1, 1, 2, 0]);
    const sizes = new Array(15).fill(0);
    for (const bin of equalMassBins(
      Float64Array.from({ length: 100 }, (_, i) => Math.sin(i)),
      15,
    ))
      sizes[bin]++;
    expect(Math.min(...sizes)).toBe(6);
    expect(Math.max(...sizes)).toBe(7);
  });

  it('never parts equal values, and then has fewer bins', () => {
    expect([...equalMassBins([0.5, 0.5, 0.5, 0.5, 0.9], 5)]).toEqual([0, 0, 0, 0, 1]);
    expect(new Set(equalMassBins([0.5, 0.5, 0.5], 15)).size).toBe(1);
    expect([...equalMassBins([0.2, 0.1], 15)]).toEqual([1, 0]);
  });
});

describe('reliability', () => {
  it('is what one counts by hand', () => {
    const found = reliability([0.2, 0.2, 0.6, 0.6, 0.6, 0.6], [0, 1, 1, 1, 1, 0], { ...OPTIONS, bins: 2 });
    expect(found.bins).toMatchObject([
      { answers: 2, from: 0.2, to: 0.2, predicted: 0.2, observed: { estimate: 0.5 } },
      { answers: 4, from: 0.6, to: 0.6, observed: { estimate: 0.75 } },
    ]);
    expect(found.ece.estimate).toBeCloseTo((2 * 0.3 + 4 * 0.15) / 6, 12);
    expect(found.brier).toBeCloseTo((0.2 ** 2 + 0.8 ** 2 + 3 * 0.4 ** 2 + 0.6 ** 2) / 6, 12);
    expect(found.logLoss).toBeCloseTo(-(Math.log(0.8) + Math.log(0.2) + 3 * Math.log(0.6) + Math.log(0.4)) / 6, 12);
    expect(found.bins[1]!.observed.low).toBeLessThan(0.2); // 3 of 4 say little
  });

  it('finds nothing wrong with probabilities that are right, and says what such a set shows', () => {
    const { probabilities, labels } = answers(600, 0, 1);
    const { ece, eceOfPerfect, bins } = reliability(probabilities, labels, OPTIONS);
    expect(bins).toHaveLength(15);
    expect(ece.low).toBe(0);
    expect(Math.abs(ece.estimate - eceOfPerfect)).toBeLessThan(0.02);
    expect(eceOfPerfect).toBeGreaterThan(0.03);
  });

  it('finds how much an answer boasts', () => {
    const { probabilities, labels } = answers(1500, 0.3, 2);
    const { ece, eceOfPerfect } = reliability(probabilities, labels, OPTIONS);
    expect(Math.abs(ece.estimate - 0.3)).toBeLessThan(0.05);
    expect(ece.low).toBeGreaterThan(2 * eceOfPerfect);
  });

  it('the interval holds the true error nine times in ten or more, and 0 where there is none', { tags: 'slow' }, () => {
    const held = (boast: number) =>
      Array.from({ length: 40 }, (_, seed) => {
        const { probabilities, labels } = answers(400, boast, 100 + seed);
        const { ece } = reliability(probabilities, labels, { seed, resamples: 200 });
        return ece.low <= boast && boast <= ece.high;
      }).filter(Boolean).length;
    expect(held(0)).toBeGreaterThanOrEqual(36);
    expect(held(0.2)).toBeGreaterThanOrEqual(34);
  });

  it('bounds the loss of a certainty that was wrong', () => {
    expect(logLossOf(0, 1)).toBeCloseTo(-Math.log(1e-6), 9);
    expect(logLossOf(1, 1)).toBeLessThan(1e-5);
  });
});
