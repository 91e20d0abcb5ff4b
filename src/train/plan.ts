/**
 * What is trained when: the batches of every update and its learning rate, a function of the examples' lengths and the settings
 * alone, whoever computes it. Free of any tensor library.
 */

import { epochBatches } from './batches.js';
import { learningRateAt, type TrainSettings } from './settings.js';

export class TrainingPlan {
  readonly totalSteps: number;
  readonly #lengths: ArrayLike<number>;
  readonly #settings: TrainSettings;
  readonly #batchesPerEpoch: number;
  #epoch: { index: number; batches: number[][] } | undefined;

  /** @param lengths of the examples, in tokens */
  constructor(lengths: ArrayLike<number>, settings: TrainSettings) {
    this.#lengths = lengths;
    this.#settings = settings;
    this.#batchesPerEpoch = Math.ceil(lengths.length / settings.batchSize);
    this.totalSteps = Math.max(1, Math.ceil((this.#batchesPerEpoch * settings.epochs) / settings.gradientAccumulation));
  }

  /** The micro-batches of update 0, 1, ..., totalSteps-1, each the indices of its examples. */
  batchesOf(step: number): number[][] {
    const { gradientAccumulation, epochs } = this.#settings;
    const first = step * gradientAccumulation;
    const last = Math.min(first + gradientAccumulation, Math.ceil(this.#batchesPerEpoch * epochs));
    return Array.from({ length: last - first }, (_, i) => this.#batch(first + i));
  }

  learningRateOf(step: number): number {
    const { totalSteps } = this;
    const warmupSteps = Math.ceil(totalSteps * this.#settings.warmupShare);
    return learningRateAt(step, { ...this.#settings, warmupSteps, totalSteps });
  }

  #batch(index: number): number[] {
    const epoch = Math.floor(index / this.#batchesPerEpoch);
    if (this.#epoch?.index !== epoch) {
      const { batchSize, seed } = this.#settings;
      this.#epoch = { index: epoch, batches: epochBatches(this.#lengths, batchSize, seed, epoch) };
    }
    return this.#epoch.batches[index % this.#batchesPerEpoch]!;
  }
}
