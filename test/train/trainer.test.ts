import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { meanLoss } from '../../src/train/completion-score.js';
import { scoreCompletions } from '../../src/train/evaluate.js';
import { TRAIN_DEFAULTS, type TrainSettings } from '../../src/train/settings.js';
import { Trainer } from '../../src/train/trainer.js';
import { layoutOf, sequences, toyModel } from './toy.js';

const toy = toyModel();
const examples = sequences(12);
const SETTINGS: TrainSettings = {
  ...TRAIN_DEFAULTS,
  epochs: 2,
  batchSize: 4,
  learningRate: 2e-2,
  loraAlpha: 4,
  seed: 3,
};

const input = (N = 2) => ({
  model: toy.model,
  layout: layoutOf(toy, N),
  examples,
  gates: examples.map((_, i) => Array.from({ length: N }, (_, n) => (N === 1 ? 1 : n === i % N ? 0.75 : 0.25))),
});
async function steps(trainer: Trainer, count = Number.POSITIVE_INFINITY): Promise<number[]> {
  const losses: number[] = [];
  while (!trainer.done && losses.length < count) losses.push((await trainer.step()).loss);
  return losses;
}

describe('Trainer', () => {
  it('lowers the loss', async () => {
    const trainer = new Trainer(input(), SETTINGS);
    const losses = await steps(trainer);
    trainer.dispose();
    expect(losses).toHaveLength(6);
    const last = losses.slice(-2).reduce((a, b) => a + b) / 2;
    expect(last).toBeLessThan(losses[0]! - 0.3);
  });

  it('goes on from a checkpoint to the same bytes', async () => {
    const whole = new Trainer(input(), SETTINGS);
    const losses = await steps(whole);
    const first = new Trainer(input(), SETTINGS);
    const before = await steps(first, 2);
    const second = new Trainer(input(), SETTINGS, await first.state());
    const after = await steps(second);
    expect([...before, ...after]).toEqual(losses);
    expect(await second.state()).toEqual(await whole.state());
    for (const trainer of [whole, first, second]) trainer.dispose();
  });

  it('takes all steps that are left, or stops between two', async () => {
    const trainer = new Trainer(input(), SETTINGS);
    const stop = AbortSignal.abort();
    await expect(trainer.finish(stop)).rejects.toMatchObject({
      code: 'interrupted',
      message: 'stopped after step 1 of 6',
    });
    await trainer.finish();
    expect([trainer.done, (await trainer.state()).step]).toEqual([true, 6]);
    trainer.dispose();
  });

  it('begins at the base model, and takes the same step for a batch whole and in parts', async () => {
    const once = { ...SETTINGS, epochs: 1, batchSize: 12 };
    const parts = { ...once, batchSize: 3, gradientAccumulation: 4 };
    const [whole, summed] = [new Trainer(input(1), once), new Trainer(input(1), parts)];
    const [a, b] = [await whole.step(), await summed.step()];
    expect(a.loss).toBeCloseTo(meanLoss(await scoreCompletions(toy.model, examples)), 4);
    expect(b.loss).toBeCloseTo(a.loss, 5);
    expect(b.gradientNorm).toBeCloseTo(a.gradientNorm, 5);
    expect([a.tokens, b.tokens]).toEqual([84, 84]);
    expect([whole.done, summed.done]).toEqual([true, true]);
    whole.dispose();
    summed.dispose();
  });

  it.each([
    [{ epochs: 1 }, 3],
    [{ epochs: 0.5 }, 2],
    [{ epochs: 0.01 }, 1],
    [{ epochs: 2, gradientAccumulation: 4 }, 2],
    [{ epochs: 1, batchSize: 5 }, 3],
  ])('with %j it takes %i steps', (more, expected) => {
    const trainer = new Trainer(input(1), { ...SETTINGS, ...more });
    expect(trainer.totalSteps).toBe(expected);
    trainer.dispose();
  });

  it('trains an adapter only by the examples that have a share of it', async () => {
    const { layout, ...rest } = input(2);
    const trainer = new Trainer({ ...rest, layout, gates: examples.map(() => [1, 0]) }, SETTINGS);
    const before = await trainer.state();
    await steps(trainer, 3);
    const { parameters } = await trainer.state();
    trainer.dispose();
    const [module] = layout.modules;
    const size = layout.r * module!.in;
    const changed = (n: number) => {
      const from = module!.aOffset + n * size;
      return parameters.subarray(from, from + size).some((x, i) => x !== before.parameters[from + i]);
    };
    expect([changed(0), changed(1)]).toEqual([true, false]);
  });

  it('stops with a sentence where numbers diverge', async () => {
    const trainer = new Trainer(input(1), { ...SETTINGS, warmupShare: 0, learningRate: 1e30 });
    await expect(steps(trainer)).rejects.toMatchObject({ code: 'loss-not-finite' });
    trainer.dispose();
  });

  it('leaves no tensor behind', async () => {
    const before = tf.memory().numTensors;
    const trainer = new Trainer(input(1), SETTINGS);
    await steps(trainer, 2);
    trainer.dispose();
    expect(tf.memory().numTensors).toBe(before);
  });
});
