/** How the loss fell: every step of a short training, means of stretches of a long one, and the ends of an older pool. */

import { expect, it } from 'vitest';
import type { PoolManifest } from '../../src/pool/pool.js';
import { keepTrainingCurve, readTrainingCurve, trainingCurve } from '../../src/pool/training-curve.js';
import { temporaryDir } from '../helpers/files.js';

const manifest = (training: PoolManifest['training']) => ({ training }) as PoolManifest;

it('has every step of a short training', () => {
  expect(trainingCurve(Float32Array.of(3, 2, 1.5))).toEqual([
    [1, 3],
    [2, 2],
    [3, 1.5],
  ]);
});

it('has the means of a hundred stretches of a long one, at their middles', () => {
  const losses = Float32Array.from({ length: 250 }, (_, i) => i + 1); // the loss is the step's number
  const curve = trainingCurve(losses);
  expect(curve).toHaveLength(100);
  for (const [step, loss] of curve) expect(loss).toBe(step);
  expect(curve[0]).toEqual([1.5, 1.5]);
  expect(curve.at(-1)).toEqual([249, 249]);
});

it('is read back, and is that of the manifest where a pool has none', () => {
  const dir = temporaryDir();
  const training = { steps: 40, firstLoss: 2.5, lastLoss: 0.5 };
  expect(readTrainingCurve(dir, manifest(training))).toEqual([
    [1, 2.5],
    [40, 0.5],
  ]);
  expect(readTrainingCurve(dir, manifest({}))).toEqual([]);
  keepTrainingCurve(dir, Float32Array.of(2, 1));
  expect(readTrainingCurve(dir, manifest(training))).toEqual([
    [1, 2],
    [2, 1],
  ]);
});
