/** Attention in chunks, probabilities computed twice, against attention in one piece, which the parity tests check. */

import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { createRandom } from '../../src/core/random.js';
import { CausalAttention } from '../../src/model/attention.js';
import { chooseBackend } from '../../src/model/backend.js';
import { TFJS_OPERATIONS } from '../../src/model/tfjs-operations.js';
import { relativeDifference } from '../helpers/fixtures.js';

beforeAll(async () => {
  await chooseBackend('wasm');
});

const shape = { B: 2, T: 40, H: 4, K: 2, D: 8 };

/** 0 where i may look at j, a large negative number elsewhere. */
function maskOf(T: number, window: number): tf.Tensor2D {
  const values = Array.from({ length: T * T }, (_, at) => {
    const [i, j] = [Math.floor(at / T), at % T];
    return j <= i && i - j < window ? 0 : -1e9;
  });
  return tf.tensor2d(values, [T, T]);
}

function run(chunk: number, kept: number, window: number) {
  const { B, T, H, K, D } = shape;
  const random = createRandom(3, 'attention');
  const made = (...dims: number[]) =>
    tf.tensor(
      Float32Array.from({ length: dims.reduce((a, b) => a * b) }, () => random.normal()),
      dims,
    );
  const q = made(B, H, T, D) as tf.Tensor4D;
  const k = made(B, K, T, D) as tf.Tensor4D;
  const v = made(B, K, T, D) as tf.Tensor4D;
  const dy = made(B * T, H * D) as tf.Tensor2D;
  const attention = new CausalAttention(TFJS_OPERATIONS, shape, maskOf(T, window), chunk, kept);
  const { value, probabilities } = attention.forward(q, k, v);
  const y = tf.reshape<tf.Rank.R2>(tf.transpose(value as tf.Tensor4D, [0, 2, 1, 3]), [B * T, H * D]);
  const { dq, dk, dv } = attention.backward(dy, { q, k, v, y, ...probabilities });
  return {
    kept: Object.keys(probabilities).length,
    tensors: { y, dq, dk, dv } as Record<'y' | 'dq' | 'dk' | 'dv', tf.Tensor>,
  };
}

describe.each([
  ['causal', 1000],
  ['with a sliding window', 7],
])('attention in chunks, %s', (_, window) => {
  it.each([
    [16, 0, 0],
    [16, 1e9, 3],
    [40, 0, 0],
  ])('chunk %i, kept up to %i', (chunk, kept, expectedKept) => {
    const expected = run(40, 1e9, window);
    const found = run(chunk, kept, window);
    expect(found.kept).toBe(expectedKept);
    for (const name of ['y', 'dq', 'dk', 'dv'] as const) {
      const difference = relativeDifference(found.tensors[name].dataSync(), expected.tensors[name].dataSync());
      expect(difference, name).toBeLessThan(1e-5);
    }
  });
});
