/** How adapters are trained, and the defaults. Free of any tensor library. */

export interface AdamWOptions {
  beta1: number;
  beta2: number;
  epsilon: number;
  weightDecay: number;
  /** largest L2 norm of the gradient; infinity for none */
  clipNorm: number;
}

export const ADAMW_DEFAULTS: AdamWOptions = { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0, clipNorm: 1 };

export interface TrainSettings {
  epochs: number;
  /** examples per micro-batch */
  batchSize: number;
  /** micro-batches per update */
  gradientAccumulation: number;
  learningRate: number;
  /** share of all steps spent warming up */
  warmupShare: number;
  /** last learning rate as a share of the highest */
  finalShare: number;
  loraAlpha: number;
  seed: number;
  adamw: AdamWOptions;
}

export const TRAIN_DEFAULTS: TrainSettings = {
  epochs: 1,
  batchSize: 16,
  gradientAccumulation: 1,
  learningRate: 2e-3,
  warmupShare: 0.05,
  finalShare: 0.1,
  loraAlpha: 16,
  seed: 0,
  adamw: ADAMW_DEFAULTS,
};
