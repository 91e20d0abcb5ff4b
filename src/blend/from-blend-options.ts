/** What `--lora-from-blend` is told, with its defaults. Free of any tensor library. */

import type { PoolManifest } from '../pool/pool.js';
import { TRAIN_DEFAULTS } from '../train/settings.js';

export interface FromBlendOptions {
  /** of the LoRA, whatever the ranks in the pool are */
  rank: number;
  /** updates, each from one batch of the examples, which are gone through again and again */
  steps?: number | undefined;
  /** the highest of a cosine schedule; half of that which the pool was trained with when absent */
  learningRate?: number | undefined;
  /** examples a step */
  batchSize?: number | undefined;
  /**
   * Weight decay towards the start, AdamW's: each step goes back by learning rate * pull of the way. Since AdamW's steps are about
   * the learning rate at most, no number gets much further than 1 / pull from where it began.
   */
  pull?: number | undefined;
  /** of the batches, and of the components that the blend does not fill */
  seed?: number | undefined;
  /** bytes that the process may take; three quarters of what is free when absent */
  memory?: number | undefined;
  /** between checkpoints */
  checkpointSeconds?: number | undefined;
  /** ignore what an interrupted run left, instead of continuing it */
  fresh?: boolean | undefined;
}

/** Measured on the embedded suite (docs/experiments.md). */
export const FROM_BLEND_DEFAULTS = { steps: 60, batchSize: 8, pull: 5, seed: 0 };
const SHARE_OF_POOL_RATE = 0.5;

/** With its defaults. */
export type FromBlendSettings = FromBlendOptions &
  Required<Pick<FromBlendOptions, 'learningRate'>> &
  typeof FROM_BLEND_DEFAULTS;

export function fromBlendSettings(
  options: FromBlendOptions,
  { training }: Pick<PoolManifest, 'training'>,
): FromBlendSettings {
  const { steps, batchSize, pull, seed } = FROM_BLEND_DEFAULTS;
  const { learningRate: ofPool } = { ...TRAIN_DEFAULTS, ...training };
  return {
    ...options,
    steps: options.steps ?? steps,
    batchSize: options.batchSize ?? batchSize,
    pull: options.pull ?? pull,
    seed: options.seed ?? seed,
    learningRate: options.learningRate ?? SHARE_OF_POOL_RATE * ofPool,
  };
}
