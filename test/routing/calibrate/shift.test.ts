import { describe, expect, it } from 'vitest';
import { createRandom } from '../../../src/core/random.js';
import { mean } from '../../../src/core/stats.js';
import { logLossOf } from '../../../src/routing/calibrate/reliability.js';
import { shiftOf } from '../../../src/routing/calibrate/shift.js';
import { shifted } from '../../../src/routing/signals/shifted.js';

const logit = (p: number) => Math.log(p / (1 - p));

/** Of all shifts on a fine grid the one of the highest posterior. */
function byGrid(probabilities: readonly number[], labels: readonly number[], variance: number): number {
  const posterior = (u: number) =>
    -(u * u) / 2 / variance - probabilities.reduce((sum, p, i) => sum + logLossOf(shifted(p, u), labels[i]!), 0);
  const grid = Array.from({ length: 16_001 }, (_, k) => (k - 8000) / 1000);
  return grid.reduce((best, u) => (posterior(u) > posterior(best) ? u : best), 0);
}

describe('shiftOf', () => {
  it('is the most probable shift, as a search finds it', () => {
    for (const [probabilities, labels] of [
      [
        [0.9, 0.8, 0.95],
        [0, 0, 0],
      ],
      [
        [0.2, 0.3, 0.5, 0.9],
        [1, 1, 1, 1],
      ],
      [
        [0.5, 0.6, 0.7, 0.8, 0.4],
        [1, 0, 1, 0, 0.5],
      ],
      [
        [1, 1, 1, 0.01],
        [0, 0, 0, 1],
      ],
    ] as Array<[number[], number[]]>) {
      for (const variance of [0.5, 4]) {
        expect(shiftOf(probabilities, labels, variance)).toBeCloseTo(byGrid(probabilities, labels, variance), 2);
      }
    }
  });

  it('is nothing without answers, and small by one', () => {
    expect(shiftOf([], [])).toBe(0);
    const one = shiftOf([0.5], [1]);
    expect(one).toBeGreaterThan(0);
    expect(one).toBeLessThan(1.5);
    expect(shiftOf([0.5, 0.5], [1, 0])).toBeCloseTo(0, 9);
  });

  it('makes the probabilities of a user who differs from the others believable again', () => {
    const random = createRandom(1, 'user');
    const asked = Array.from({ length: 400 }, () => {
      const p = 0.5 + 0.49 * random.uniform();
      return { p, right: random.uniform() < 1 / (1 + Math.exp(-(logit(p) - 2.5))) ? 1 : 0 };
    });
    const [shown, rest] = [asked.slice(0, 10), asked.slice(10)];
    const shift = shiftOf(
      shown.map(({ p }) => p),
      shown.map(({ right }) => right),
    );
    const loss = (u: number) => mean(rest.map(({ p, right }) => logLossOf(shifted(p, u), right)));
    expect(shift).toBeLessThan(-1);
    expect(loss(shift)).toBeLessThan(loss(0) - 0.3);
  });
});

describe('shifted', () => {
  it('adds to the log-odds, and leaves alone what is no probability to shift', () => {
    expect(logit(shifted(0.7, 1.5))).toBeCloseTo(logit(0.7) + 1.5, 12);
    expect(shifted(0.7, 0)).toBe(0.7);
    expect(shifted(0, 3)).toBe(0); // an answer without a token
    expect(shifted(Number.NaN, 1)).toBeNaN();
    // Certainty yields too: a rule is never so sure of a stranger.
    expect(shifted(1 - 1e-9, -6.9)).toBeLessThan(0.55);
  });
});
