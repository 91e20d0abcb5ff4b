import { describe, expect, it } from 'vitest';
import { TrainingPlan } from '../../src/train/plan.js';
import { TRAIN_DEFAULTS } from '../../src/train/settings.js';

const lengths = Array.from({ length: 22 }, (_, i) => 5 + (i % 7));

describe('TrainingPlan', () => {
  it('sees every example once an epoch, in an order of its own', () => {
    const plan = new TrainingPlan(lengths, { ...TRAIN_DEFAULTS, batchSize: 4, epochs: 2 });
    expect(plan.totalSteps).toBe(12);
    const epochs = [0, 6].map((first) => [0, 1, 2, 3, 4, 5].flatMap((step) => plan.batchesOf(first + step).flat()));
    const all = lengths.map((_, i) => i);
    for (const epoch of epochs) expect([...epoch].sort((a, b) => a - b)).toEqual(all);
    expect(epochs[0]).not.toEqual(epochs[1]);
  });

  it('gives the same batches whichever step is asked for first', () => {
    const settings = { ...TRAIN_DEFAULTS, batchSize: 4, epochs: 2 };
    const [forwards, backwards] = [new TrainingPlan(lengths, settings), new TrainingPlan(lengths, settings)];
    const steps = Array.from({ length: 12 }, (_, i) => i);
    const there = steps.map((step) => forwards.batchesOf(step));
    const back = [...steps].reverse().map((step) => backwards.batchesOf(step));
    expect(back.reverse()).toEqual(there);
  });

  it('accumulates micro-batches, and the last update has what is left of a part of an epoch', () => {
    const plan = new TrainingPlan(lengths, { ...TRAIN_DEFAULTS, batchSize: 4, gradientAccumulation: 4, epochs: 1.5 });
    expect(plan.totalSteps).toBe(3);
    expect([0, 1, 2].map((step) => plan.batchesOf(step).length)).toEqual([4, 4, 1]);
  });

  it('warms up, and has its highest learning rate at the end of that', () => {
    const plan = new TrainingPlan(lengths, { ...TRAIN_DEFAULTS, batchSize: 1, warmupShare: 0.2, learningRate: 1 });
    const rates = Array.from({ length: plan.totalSteps }, (_, step) => plan.learningRateOf(step));
    expect(rates.slice(0, 5)).toEqual([1, 2, 3, 4, 5].map((step) => step / 5));
    expect(rates.at(-1)).toBeLessThan(0.2);
  });
});
