import { describe, expect, it } from 'vitest';
import { fitIsotonic, mapped } from '../../src/core/isotonic.js';
import { createRandom } from '../../src/core/random.js';

/** Values with label 1 by a chance of them. */
function draws(n: number, seed: number, chance: (x: number) => number) {
  const random = createRandom(seed);
  const values = Array.from({ length: n }, () => random.uniform());
  return { values, labels: values.map((x) => (random.uniform() < chance(x) ? 1 : 0)) };
}

describe('isotonic regression', () => {
  it('pools adjacent violators as scikit-learn does, with one case of each label at the ends', () => {
    const values = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9];
    const labels = [0, 1, 0, 0, 1, 1, 0, 1, 1];
    // IsotonicRegression (1.9.1): 0.4 for the first four, 2/3 for the rest; a tenth of the way to what is beside
    expect(fitIsotonic(values, labels)).toEqual([
      [0, 0.36],
      [0.4, 0.4267],
      [0.5, 0.64],
      [1, 0.7],
    ]);
  });

  it('rises everywhere, is short, and gives no certainty', () => {
    for (let seed = 0; seed < 20; seed++) {
      const { values, labels } = draws(seed === 0 ? 3 : 30 * seed, seed, (x) => x * x);
      const knots = fitIsotonic(values, labels);
      expect(knots.length).toBeLessThanOrEqual(16);
      for (const [k, [x, y]] of knots.slice(1).entries()) {
        expect(x).toBeGreaterThan(knots[k]![0]);
        expect(y).toBeGreaterThan(knots[k]![1]);
      }
      expect([knots[0]![0], knots.at(-1)![0]]).toEqual([0, 1]);
      expect(knots[0]![1]).toBeGreaterThan(0);
      expect(knots.at(-1)![1]).toBeLessThan(1);
    }
    expect(fitIsotonic([0.2, 0.3, 0.4], [1, 1, 1]).at(-1)![1]).toBeLessThan(0.9);
    expect(fitIsotonic([0.4, 0.4], [1, 0])).toEqual([
      [0, 0.45],
      [1, 0.55],
    ]);
  });

  it('comes near a chance that bends as no logistic curve does, whatever the order of equal values', () => {
    const chance = (x: number) => (x < 0.5 ? 0.2 : 0.6 + 0.3 * x);
    const { values, labels } = draws(4000, 1, chance);
    const knots = fitIsotonic(values, labels);
    for (const x of [0.1, 0.3, 0.45, 0.6, 0.75, 0.9]) expect(Math.abs(mapped(knots, x) - chance(x))).toBeLessThan(0.06);
    const coarse = values.map((x) => Math.round(20 * x) / 20);
    const turned = fitIsotonic([...coarse].reverse(), [...labels].reverse());
    expect(turned).toEqual(fitIsotonic(coarse, labels));
  });

  it('is a line between knots, and what it is at the ends beyond them', () => {
    const knots = [
      [0.2, 0.1],
      [0.4, 0.5],
      [0.8, 0.7],
    ] as const;
    expect([0, 0.2, 0.3, 0.4, 0.6, 0.8, 1].map((x) => Number(mapped(knots, x).toFixed(12)))).toEqual([
      0.1, 0.1, 0.3, 0.5, 0.6, 0.7, 0.7,
    ]);
    expect(mapped(knots, Number.NaN)).toBeNaN();
  });
});
