/** How the loss fell while a pool was trained: kept beside the pool for reports, and needed for nothing else. */

import { join } from 'node:path';
import * as z from 'zod';
import { mean } from '../core/stats.js';
import { exists } from '../files/io.js';
import { readJson, writeJson } from '../files/json.js';
import { checked, notNegative } from '../files/schema.js';
import type { PoolManifest } from './pool.js';

const FILE = 'training-curve.json';
/** More would not be seen in a picture. */
const MOST_POINTS = 100;

/** Step in the middle of a stretch of steps, and the mean loss of the stretch in nats a token. */
export const CURVE_SCHEMA = z.array(z.tuple([notNegative, z.number()]));
export type TrainingCurve = z.output<typeof CURVE_SCHEMA>;

/** @param losses of every step */
export function trainingCurve(losses: Float32Array): TrainingCurve {
  const n = losses.length;
  const points = Math.min(n, MOST_POINTS);
  return Array.from({ length: points }, (_, i) => {
    const [from, to] = [Math.floor((i * n) / points), Math.floor(((i + 1) * n) / points)];
    return [(from + to + 1) / 2, Number(mean(losses.subarray(from, to)).toFixed(4))];
  });
}

/** @param more of the steps of a joint phase behind them */
export function keepTrainingCurve(dir: string, losses: Float32Array, more: ArrayLike<number> = []): void {
  writeJson(join(dir, FILE), trainingCurve(Float32Array.from([...losses, ...Array.from(more)])));
}

/** Of a pool that was built before curves were kept, the ends that its manifest has. @throws CrayonError `pool-invalid` */
export function readTrainingCurve(dir: string, { training }: PoolManifest): TrainingCurve {
  const path = join(dir, FILE);
  if (exists(path)) return checked(CURVE_SCHEMA, readJson(path), { where: path, code: 'pool-invalid' });
  const { steps, firstLoss, lastLoss } = training;
  if (typeof steps !== 'number' || typeof firstLoss !== 'number' || typeof lastLoss !== 'number') return [];
  return [
    [1, firstLoss],
    [steps, lastLoss],
  ];
}
