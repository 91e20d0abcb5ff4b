// npx vitest run test/blend/refine.test.ts
import { describe, expect, it } from 'vitest';
import { refineCoefficients } from '../../src/blend/refine.js';

/** A loss whose lowest place is known: the squared distance to a mixture. */
const towards = (target: number[]) => {
  const asked: number[] = [];
  const lossesOf = async (mixtures: Float64Array[]) => {
    asked.push(mixtures.length);
    return Float64Array.from(mixtures, (alpha) => alpha.reduce((sum, a, n) => sum + (a - target[n]!) ** 2, 0));
  };
  return { asked, lossesOf };
};
const sum = (x: ArrayLike<number>) => Array.from(x).reduce((a, b) => a + b, 0);

describe('refineCoefficients', () => {
  it('goes down the loss, and stays a mixture', async () => {
    const { lossesOf, asked } = towards([0.2, 0.7, 0.1]);
    const start = Float64Array.of(0.8, 0.15, 0.05);
    const { coefficients, before, after } = await refineCoefficients(start, lossesOf, { steps: 60, rate: 2, pull: 0 });
    expect(before).toBeCloseTo(0.36 + 0.3025 + 0.0025, 9);
    expect(after).toBeLessThan(0.002);
    expect(sum(coefficients)).toBeCloseTo(1, 9);
    expect(coefficients[1]).toBeCloseTo(0.7, 1);
    expect(asked.filter((count) => count === 4)).toHaveLength(61); // itself and N differences a step
  });

  it('is pulled back to where it starts: the more, the nearer it stays', async () => {
    const start = Float64Array.of(0.8, 0.15, 0.05);
    const at = async (pull: number) => {
      const { lossesOf } = towards([0.2, 0.7, 0.1]);
      const { coefficients } = await refineCoefficients(start, lossesOf, { steps: 60, rate: 1, pull });
      return coefficients[1]!;
    };
    const [free, held, fast] = [await at(0), await at(0.5), await at(100)];
    expect(free).toBeGreaterThan(held! + 0.1);
    expect(held).toBeGreaterThan(fast!);
    expect(fast).toBeCloseTo(0.15, 1);
  });

  it('keeps zeros, keeps the sum of what is given, and never ends above its start', async () => {
    const start = Float64Array.of(1.5, 0, 0.5);
    const { coefficients } = await refineCoefficients(start, towards([0, 2, 2]).lossesOf, { steps: 5 });
    expect(coefficients[1]).toBe(0);
    expect(sum(coefficients)).toBeCloseTo(2, 9);
    const best = Float64Array.of(0.6, 0.4);
    const kept = await refineCoefficients(best, towards([0.6, 0.4]).lossesOf, { steps: 3, rate: 50 });
    expect([kept.coefficients, kept.after]).toEqual([best, 0]);
  });
});
