import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { AdamW } from '../../src/model/adamw.js';
import { ADAMW_DEFAULTS } from '../../src/model/adamw-settings.js';
import { chooseBackend } from '../../src/model/backend.js';
import { ADAMW_CASES, ANCHOR, adamwByHand, GRADIENTS, rateOf, START, STEPS } from '../helpers/adamw.js';

beforeAll(async () => {
  await chooseBackend('cpu');
});

/** @returns the gradients' norms */
async function run(optimizer: AdamW, from: number, to: number): Promise<number[]> {
  const norms: number[] = [];
  for (let t = from; t < to; t++) {
    const gradient = tf.tensor1d(GRADIENTS[t]!);
    const norm = optimizer.update(gradient, rateOf(t));
    norms.push((await norm.data())[0]!);
    tf.dispose([gradient, norm]);
  }
  return norms;
}

describe('AdamW', () => {
  it.each(ADAMW_CASES)('takes the steps of a float64 loop: %s', async (_, more) => {
    const options = { ...ADAMW_DEFAULTS, ...more };
    const expected = adamwByHand(options);
    const optimizer = new AdamW(START, options);
    const norms = await run(optimizer, 0, STEPS);
    const { parameters, step } = await optimizer.state();
    optimizer.dispose();
    expect(step).toBe(STEPS);
    norms.forEach((norm, t) => {
      expect(norm / expected.norms[t]!).toBeCloseTo(1, 5);
    });
    parameters.forEach((x, i) => {
      expect(Math.abs(x - expected.p[i]!)).toBeLessThan(1e-5);
    });
  });

  it('pulls back to an anchor, but what is frozen', async () => {
    const options = { ...ADAMW_DEFAULTS, weightDecay: 3 };
    const { p } = adamwByHand(options, ANCHOR);
    const before = tf.memory().numTensors;
    for (const frozen of [[], [[10, 20]]] as Array<Array<[number, number]>>) {
      const optimizer = new AdamW(START, { ...options, clipNorm: Number.POSITIVE_INFINITY }, frozen, ANCHOR);
      const free = adamwByHand({ ...options, clipNorm: Number.POSITIVE_INFINITY }, ANCHOR).p;
      await run(optimizer, 0, STEPS);
      const { parameters } = await optimizer.state();
      optimizer.dispose();
      parameters.forEach((x, i) => {
        const expected = frozen.length > 0 && i >= 10 && i < 20 ? START[i]! : free[i]!;
        expect(Math.abs(x - expected)).toBeLessThan(1e-5);
      });
    }
    expect(p.some((x, i) => Math.abs(x - adamwByHand(options).p[i]!) > 0.05)).toBe(true);
    expect(tf.memory().numTensors).toBe(before);
  });

  it('moves nothing at a learning rate of 0, but its moments', async () => {
    const optimizer = new AdamW(START);
    const gradient = tf.tensor1d(GRADIENTS[0]!);
    tf.dispose([optimizer.update(gradient, 0), gradient]);
    const { parameters, m } = await optimizer.state();
    optimizer.dispose();
    expect(parameters).toEqual(START);
    expect(m.every((x) => x !== 0)).toBe(true);
  });

  it('goes on from a state to the same bytes', async () => {
    const whole = new AdamW(START);
    await run(whole, 0, STEPS);
    const half = new AdamW(START);
    await run(half, 0, 3);
    const resumed = new AdamW(await half.state());
    await run(resumed, 3, STEPS);
    expect(await resumed.state()).toEqual(await whole.state());
    for (const optimizer of [whole, half, resumed]) optimizer.dispose();
  });

  it('leaves no tensor behind', async () => {
    const before = tf.memory().numTensors;
    const optimizer = new AdamW(START);
    await run(optimizer, 0, 2);
    optimizer.dispose();
    expect(tf.memory().numTensors).toBe(before);
  });
});
