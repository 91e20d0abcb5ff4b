import { describe, expect, it } from 'vitest';
import { BUILD_DEFAULTS } from '../../src/pool/options.js';
import { learningRateAt } from '../../src/train/schedule.js';
import { ADAMW_DEFAULTS, TRAIN_DEFAULTS } from '../../src/train/settings.js';

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
