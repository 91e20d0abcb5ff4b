/** How adapters are trained: the settings, their defaults, and the learning rates they make. Free of any tensor library. */

import { ADAMW_DEFAULTS } from '../model/adamw-settings.js';

export const TRAIN_DEFAULTS = {
  epochs: 1,
  /** examples per micro-batch */
  batchSize: 16,
  /** micro-batches per update */
  gradientAccumulation: 1,
  /** the highest one, reached at the end of the warm-up */
  learningRate: 2e-3,
  /** share of all steps spent warming up */
  warmupShare: 0.05,
  /** last learning rate as a share of the highest */
  finalShare: 0.1,
  loraAlpha: 16,
  seed: 0,
  adamw: ADAMW_DEFAULTS,
};
export type TrainSettings = typeof TRAIN_DEFAULTS;

export interface Schedule extends Pick<TrainSettings, 'learningRate' | 'finalShare'> {
  warmupSteps: number;
  totalSteps: number;
}

/** The learning rate of step 0, 1, ..., totalSteps-1: linear warm-up, then half a cosine down to a floor. */
export function learningRateAt(step: number, { learningRate, warmupSteps, totalSteps, finalShare }: Schedule): number {
  if (step < warmupSteps) return (learningRate * (step + 1)) / warmupSteps;
  const span = Math.max(1, totalSteps - warmupSteps);
  const progress = Math.min(1, (step - warmupSteps) / span);
  const cosine = 0.5 * (1 + Math.cos(Math.PI * progress));
  return learningRate * (finalShare + (1 - finalShare) * cosine);
}
