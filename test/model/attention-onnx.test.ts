/** Attention's chunks and probabilities computed twice, as ONNX Runtime carries them out. */

import { beforeAll, expect, it } from 'vitest';
import { CausalAttention } from '../../src/model/attention.js';
import { chooseBackend } from '../../src/model/backend.js';
import type { Operations, T2, T4 } from '../../src/model/operations.js';
import { causalMask } from '../../src/model/positions.js';
import { relativeDifference } from '../helpers/fixtures.js';
import { computed, operands, traced } from '../helpers/onnx.js';

beforeAll(async () => {
  await chooseBackend('cpu');
});

const [B, T, H, K, D] = [2, 20, 4, 2, 8];
const { reals } = operands('attention');
const INPUTS = [reals([B, H, T, D]), reals([B, K, T, D]), reals([B, K, T, D]), reals([B * T, H * D])];

const work = (chunk: number, kept: number) => (ops: Operations, q: T4, k: T4, v: T4, dy: T2, mask: T2) => {
  const attention = new CausalAttention(ops, { B, T, H, K, D }, mask, chunk, kept);
  const { value, probabilities } = attention.forward(q, k, v);
  const y = ops.reshape<T2>(ops.transpose(value, [0, 2, 1, 3]), [B * T, H * D]);
  const { dq, dk, dv } = attention.backward(dy, { q, k, v, y, ...probabilities });
  return [y, dq, dk, dv];
};

it.each([
  ['one chunk', 20, 1e9, null],
  ['one chunk, computed twice', 20, 0, null],
  ['chunks of unequal size', 8, 1e9, null],
  ['chunks, computed twice, with a window', 8, 0, 5],
])('%s', async (_, chunk, kept, window) => {
  const inputs = [...INPUTS, { shape: [T, T], data: causalMask(T, window) }];
  const found = await traced(work(chunk, kept), inputs);
  const expected = computed(work(20, 1e9), inputs);
  for (const [i, { shape, data }] of expected.entries()) {
    expect(found[i]!.shape).toEqual(shape);
    expect(relativeDifference(found[i]!.data, data)).toBeLessThan(2e-6);
  }
});
