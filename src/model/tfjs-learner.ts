/** Training on TensorFlow.js: parameters, moments and gradient stay on the back end. */

import * as tf from '@tensorflow/tfjs-core';
import { AdamW } from './adamw.js';
import type { AdamWState } from './adamw-settings.js';
import { frozenRanges } from './lora-layout.js';
import type { StackedFactors } from './lora-linears.js';
import { bindFactors, factorSlices, gateTensor } from './lora-tensors.js';
import type { Gates, Learner, LearnerInput, TargetBatch } from './network.js';
import type { T2 } from './operations.js';
import { takeRows } from './tfjs-operations.js';

/** What training asks of the model. */
interface TfjsForward {
  forward(ids: tf.Tensor2D, options: { lora: { factors: ReadonlyMap<string, StackedFactors>; gate: T2 } }): tf.Tensor2D;
  loss(hidden: tf.Tensor2D, targets: tf.Tensor1D, weights: tf.Tensor1D): tf.Scalar;
}

export class TfjsLearner implements Learner {
  readonly #model: TfjsForward;
  readonly #input: LearnerInput;
  readonly #optimizer: AdamW;
  #gradient: tf.Tensor1D | undefined;
  #losses: tf.Scalar[] = [];

  constructor(model: TfjsForward, input: LearnerInput) {
    this.#model = model;
    this.#input = input;
    this.#optimizer = new AdamW(input.start, input.adamw, frozenRanges(input.layout), input.anchor);
  }

  get step(): number {
    return this.#optimizer.step;
  }

  async add(batch: TargetBatch, gates: Gates, normaliser: number): Promise<void> {
    const { loss, gradient } = this.#lossAndGradient(batch, gates, normaliser);
    this.#losses.push(loss);
    if (this.#gradient === undefined) {
      this.#gradient = gradient;
      return;
    }
    const sum: tf.Tensor1D = tf.add(this.#gradient, gradient);
    tf.dispose([this.#gradient, gradient]);
    this.#gradient = sum;
  }

  async gradient(): Promise<Float32Array> {
    return Float32Array.from(await this.#gradient!.data());
  }

  async update(learningRate: number): Promise<{ loss: number; gradientNorm: number }> {
    const norm = this.#optimizer.update(this.#gradient!, learningRate);
    const losses = await Promise.all(this.#losses.map(async (l) => (await l.data())[0]!));
    const gradientNorm = (await norm.data())[0]!;
    norm.dispose();
    this.#forget();
    return { loss: losses.reduce((a, b) => a + b, 0), gradientNorm };
  }

  state(): Promise<AdamWState> {
    return this.#optimizer.state();
  }

  dispose(): void {
    this.#forget();
    this.#optimizer.dispose();
  }

  #forget(): void {
    this.#gradient?.dispose();
    this.#gradient = undefined;
    tf.dispose(this.#losses);
    this.#losses = [];
  }

  #lossAndGradient({ ids, B, T, rows, targets }: TargetBatch, gates: Gates, normaliser: number) {
    const { layout, loraAlpha } = this.#input;
    return tf.tidy(() => {
      const gate = gateTensor(gates, { T }, layout.r, loraAlpha / layout.r);
      const tokens = tf.tensor2d(ids, [B, T], 'int32');
      const at = tf.tensor1d(rows, 'int32');
      const expected = tf.tensor1d(targets, 'int32');
      const weights: tf.Tensor1D = tf.fill([targets.length], 1 / normaliser);
      const slices = factorSlices(layout, this.#optimizer.parameters);
      const lossOf = tf.valueAndGrads((...factors: tf.Tensor[]) => {
        const lora = { factors: bindFactors(layout, factors), gate };
        const hidden = takeRows(this.#model.forward(tokens, { lora }), at) as tf.Tensor2D;
        return this.#model.loss(hidden, expected, weights);
      });
      const { value, grads } = lossOf(slices);
      const gradient = tf.concat(grads.map((g) => tf.reshape(g, [-1]))) as tf.Tensor1D;
      return { loss: value as tf.Scalar, gradient };
    });
  }
}
