import { describe, expect, it } from 'vitest';
import { learningRateAt } from '../../src/train/schedule.js';

const schedule = { learningRate: 1, warmupSteps: 4, totalSteps: 104, finalShare: 0.1 };

describe('learningRateAt', () => {
  it('rises in a line to the highest value', () => {
    expect([0, 1, 2, 3].map((step) => learningRateAt(step, schedule))).toEqual([0.25, 0.5, 0.75, 1]);
  });

  it('falls by half a cosine to the final share', () => {
    expect(learningRateAt(4, schedule)).toBe(1);
    expect(learningRateAt(54, schedule)).toBeCloseTo(0.55, 10);
    expect(learningRateAt(104, schedule)).toBeCloseTo(0.1, 10);
  });

  it('needs no warm-up', () => {
    expect(learningRateAt(0, { ...schedule, warmupSteps: 0 })).toBe(1);
  });
});
