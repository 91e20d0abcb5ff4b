/**
 * Trains N stacked LoRA adapters on a frozen base model, each example through its own mixture of them.
 *
 * Loss: next-token cross-entropy on the completion, the mean over the completion tokens of a step. One code path serves
 * joint training (soft gates), independent training (one-hot gates) and a single LoRA (N = 1, gate 1).
 */

import * as tf from '@tensorflow/tfjs-core';
import { CrayonError } from '../core/errors.js';
import type { LlamaModel, LoraBinding } from '../model/llama.js';
import { takeRows } from '../model/ops.js';
import { AdamW, type AdamWState } from './adamw.js';
import { padBatch, type TrainingExample } from './batches.js';
import { bindFactors, factorSlices, gateTensor } from './lora-binding.js';
import { initialParameters, type LoraLayout } from './lora-layout.js';
import { TrainingPlan } from './plan.js';
import type { TrainSettings } from './settings.js';

export interface TrainerInput {
  model: LlamaModel;
  layout: LoraLayout;
  examples: ReadonlyArray<TrainingExample>;
  /** coefficients of each example, N numbers each */
  gates: ReadonlyArray<ArrayLike<number>>;
}

export interface StepReport {
  /** updates done, this one included */
  step: number;
  totalSteps: number;
  /** mean over the step's completion tokens, in nats */
  loss: number;
  /** L2 norm of the gradient before clipping */
  gradientNorm: number;
  learningRate: number;
  /** tokens that went through the model, padding excluded */
  tokens: number;
}

export class Trainer {
  readonly #input: TrainerInput;
  readonly #settings: TrainSettings;
  readonly #plan: TrainingPlan;
  readonly #optimizer: AdamW;

  /** @param resume the state of a checkpoint made with the same input and settings */
  constructor(input: TrainerInput, settings: TrainSettings, resume?: AdamWState) {
    this.#input = input;
    this.#settings = settings;
    const lengths = input.examples.map((e) => e.ids.length);
    this.#plan = new TrainingPlan(lengths, settings);
    this.#optimizer = new AdamW(resume ?? initialParameters(input.layout, settings.seed), settings.adamw);
  }

  get totalSteps(): number {
    return this.#plan.totalSteps;
  }

  get done(): boolean {
    return this.#optimizer.step >= this.totalSteps;
  }

  /** One update of all parameters. */
  async step(): Promise<StepReport> {
    const settings = this.#settings;
    const index = this.#optimizer.step;
    const batches = this.#plan.batchesOf(index).map((members) => this.#batch(members));

    // 1) gradients, summed over the micro-batches; every completion token of the step weighs the same
    const targets = batches.reduce((n, batch) => n + batch.padded.targets.length, 0);
    let gradient: tf.Tensor1D | undefined;
    const losses: tf.Scalar[] = [];
    for (const batch of batches) {
      const { loss, gradient: g } = lossAndGradient(this.#input, batch, this.#optimizer.parameters, settings, targets);
      losses.push(loss);
      const sum: tf.Tensor1D = gradient === undefined ? g : tf.add(gradient, g);
      if (gradient !== undefined) tf.dispose([gradient, g]);
      gradient = sum;
    }

    // 2) update
    const learningRate = this.#plan.learningRateOf(index);
    const norm = this.#optimizer.update(gradient!, learningRate);

    // 3) read back two numbers
    const lossValues = await Promise.all(losses.map(async (l) => (await l.data())[0]!));
    const loss = lossValues.reduce((a, b) => a + b, 0);
    const gradientNorm = (await norm.data())[0]!;
    tf.dispose([gradient!, norm, ...losses]);
    if (!Number.isFinite(loss) || !Number.isFinite(gradientNorm)) {
      throw new CrayonError('loss-not-finite', `step ${index + 1}: loss ${loss}, gradient norm ${gradientNorm}`, {
        hint: 'Lower --learning-rate, or check the base model with `crayon score`.',
      });
    }
    const tokens = batches.reduce(
      (n, b) => n + b.members.reduce((m, i) => m + this.#input.examples[i]!.ids.length, 0),
      0,
    );
    return { step: index + 1, totalSteps: this.totalSteps, loss, gradientNorm, learningRate, tokens };
  }

  state(): Promise<AdamWState> {
    return this.#optimizer.state();
  }

  dispose(): void {
    this.#optimizer.dispose();
  }

  #batch(members: number[]): TrainBatch {
    return {
      members,
      padded: padBatch(members.map((i) => this.#input.examples[i]!)),
      coefficients: members.map((i) => this.#input.gates[i]!),
    };
  }
}

interface TrainBatch {
  members: number[];
  padded: ReturnType<typeof padBatch>;
  coefficients: Array<ArrayLike<number>>;
}

/**
 * Loss of one micro-batch and its gradient with respect to the flat vector of LoRA parameters.
 *
 * @param normaliser the loss is the sum over completion tokens divided by this
 */
export function lossAndGradient(
  { model, layout }: Pick<TrainerInput, 'model' | 'layout'>,
  { padded, coefficients }: Pick<TrainBatch, 'padded' | 'coefficients'>,
  parameters: tf.Tensor1D,
  { loraAlpha }: Pick<TrainSettings, 'loraAlpha'>,
  normaliser: number,
): { loss: tf.Scalar; gradient: tf.Tensor1D } {
  return tf.tidy(() => {
    const gate = gateTensor(coefficients, padded.T, layout.r, loraAlpha / layout.r);
    const ids = tf.tensor2d(padded.ids, [padded.B, padded.T], 'int32');
    const rows = tf.tensor1d(padded.rows, 'int32');
    const targets = tf.tensor1d(padded.targets, 'int32');
    const weights = tf.fill([padded.targets.length], 1 / normaliser) as tf.Tensor1D;
    const slices = factorSlices(layout, parameters);
    const lossOf = tf.valueAndGrads((...factors: tf.Tensor[]) => {
      const lora: LoraBinding = { factors: bindFactors(layout, factors), gate };
      const hidden = takeRows(model.forward(ids, { lora }), rows);
      return model.loss(hidden, targets, weights);
    });
    const { value, grads } = lossOf(slices);
    return { loss: value as tf.Scalar, gradient: tf.concat(grads.map((g) => tf.reshape(g, [-1]))) as tf.Tensor1D };
  });
}
