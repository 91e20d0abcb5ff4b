import { describe, expect, it } from 'vitest';
import { ADAMW_DEFAULTS } from '../../src/model/adamw-settings.js';
import { BUILD_DEFAULTS } from '../../src/pool/inputs.js';
import { learningRateAt, TRAIN_DEFAULTS } from '../../src/train/settings.js';

describe('the settings of training', () => {
  it('are the same for a pool and for one adapter', () => {
    expect(BUILD_DEFAULTS.training).toEqual(TRAIN_DEFAULTS);
    expect(TRAIN_DEFAULTS.adamw).toEqual(ADAMW_DEFAULTS);
  });

  it('scale an adapter by twice its rank', () => {
    expect(TRAIN_DEFAULTS.loraAlpha).toBe(2 * BUILD_DEFAULTS.r);
  });

  it('warm up over a twentieth of the steps and end at a tenth of the highest rate', () => {
    const { learningRate, warmupShare, finalShare } = TRAIN_DEFAULTS;
    const totalSteps = 1000;
    const schedule = { learningRate, warmupSteps: Math.ceil(totalSteps * warmupShare), totalSteps, finalShare };
    const rates = Array.from({ length: totalSteps }, (_, step) => learningRateAt(step, schedule));
    expect(rates.indexOf(Math.max(...rates))).toBe(49);
    expect(Math.max(...rates)).toBe(learningRate);
    expect(rates.at(-1)).toBeCloseTo(0.1 * learningRate, 6);
  });
});

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
