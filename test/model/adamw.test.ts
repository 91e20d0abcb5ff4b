import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { createRandom } from '../../src/core/random.js';
import { AdamW } from '../../src/model/adamw.js';
import { ADAMW_DEFAULTS, type AdamWOptions } from '../../src/model/adamw-settings.js';
import { chooseBackend } from '../../src/model/backend.js';

const SIZE = 50;
const STEPS = 8;
const random = createRandom(1, 'adamw');
const START = Float32Array.from({ length: SIZE }, () => random.normal());
/** Of very different lengths, so that some are clipped and some are not. */
const GRADIENTS = Array.from({ length: STEPS }, (_, t) =>
  Float32Array.from({ length: SIZE }, () => random.normal() * 10 ** ((t % 4) - 2)),
);
const rateOf = (t: number) => 1e-2 / (t + 1);

beforeAll(async () => {
  await chooseBackend('cpu');
});

/**
 * The update as torch documents it, in float64: torch.nn.utils.clip_grad_norm_, then torch.optim.AdamW
 * (https://docs.pytorch.org/docs/stable/generated/torch.optim.AdamW.html).
 */
function byHand({ beta1, beta2, epsilon, weightDecay, clipNorm }: AdamWOptions): { p: number[]; norms: number[] } {
  const p = Array.from(START);
  const m = new Array<number>(SIZE).fill(0);
  const v = new Array<number>(SIZE).fill(0);
  const norms = GRADIENTS.map((gradient, t) => {
    const norm = Math.hypot(...gradient);
    const clip = Math.min(1, clipNorm / (norm + 1e-6));
    for (let i = 0; i < SIZE; i++) {
      const g = gradient[i]! * clip;
      p[i]! -= rateOf(t) * weightDecay * p[i]!;
      m[i] = beta1 * m[i]! + (1 - beta1) * g;
      v[i] = beta2 * v[i]! + (1 - beta2) * g * g;
      const mHat = m[i]! / (1 - beta1 ** (t + 1));
      const vHat = v[i]! / (1 - beta2 ** (t + 1));
      p[i]! -= (rateOf(t) * mHat) / (Math.sqrt(vHat) + epsilon);
    }
    return norm;
  });
  return { p, norms };
}

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
  it.each([
    ['the defaults', {}],
    ["torch's betas", { beta1: 0.9, beta2: 0.999 }],
    ['weight decay', { weightDecay: 0.1 }],
    ['no clipping', { clipNorm: Number.POSITIVE_INFINITY }],
    ['hard clipping and a large epsilon', { clipNorm: 0.01, epsilon: 1e-3 }],
  ])('takes the steps of a float64 loop: %s', async (_, more) => {
    const options = { ...ADAMW_DEFAULTS, ...more };
    const expected = byHand(options);
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
