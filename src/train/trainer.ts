/**
 * Trains N stacked LoRA adapters on a frozen base model, each example through its own mixture of them.
 *
 * Loss: next-token cross-entropy on the completion, the mean over the completion tokens of a step. One code path serves
 * joint training (soft gates), independent training (one-hot gates) and a single LoRA (N = 1, gate 1).
 */

import { CrayonError } from '../core/errors.js';
import { eventLoopTurn } from '../core/long-work.js';
import type { AdamWState } from '../model/adamw-settings.js';
import { initialParameters, type LoraLayout } from '../model/lora-layout.js';
import type { Gates, Learner, Network } from '../model/network.js';
import { padBatch, type TrainingExample } from './batches.js';
import { type MicroBatches, partsOf } from './micro-batches.js';
import { TrainingPlan } from './plan.js';
import type { TrainSettings } from './settings.js';

export interface TrainerInput {
  model: Network;
  layout: LoraLayout;
  examples: ReadonlyArray<TrainingExample>;
  /** coefficients of each example, N numbers each */
  gates: Gates;
  /** parts in which batches are read; whole when absent */
  micro?: MicroBatches | undefined;
  /** what weight decay pulls back to; zero when absent */
  anchor?: Float32Array | undefined;
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
  readonly #plan: TrainingPlan;
  readonly #learner: Learner;
  readonly #lengths: number[];

  /** @param start the state of a checkpoint made with the same input and settings, or parameters to begin with; PEFT's when absent */
  constructor(input: TrainerInput, settings: TrainSettings, start?: AdamWState | Float32Array) {
    this.#input = input;
    this.#lengths = input.examples.map((e) => e.ids.length);
    this.#plan = new TrainingPlan(this.#lengths, settings);
    this.#learner = input.model.learner({
      layout: input.layout,
      loraAlpha: settings.loraAlpha,
      start: start ?? initialParameters(input.layout, settings.seed),
      adamw: settings.adamw,
      anchor: input.anchor,
      recomputes: input.micro?.recomputes ?? false,
    });
  }

  get totalSteps(): number {
    return this.#plan.totalSteps;
  }

  get done(): boolean {
    return this.#learner.step >= this.totalSteps;
  }

  /** One update of all parameters. */
  async step(): Promise<StepReport> {
    const index = this.#learner.step;
    const { micro } = this.#input;
    const parts = (members: number[]) => (micro === undefined ? [members] : partsOf(members, this.#lengths, micro));
    const batches = this.#plan
      .batchesOf(index)
      .flatMap(parts)
      .map((members) => this.#batch(members));

    // 1) gradients, summed over the micro-batches; every completion token of the step weighs the same
    const targets = batches.reduce((n, batch) => n + batch.padded.targets.length, 0);
    for (const { padded, coefficients } of batches) await this.#learner.add(padded, coefficients, targets);

    // 2) update
    const learningRate = this.#plan.learningRateOf(index);
    const { loss, gradientNorm } = await this.#learner.update(learningRate);
    if (!Number.isFinite(loss) || !Number.isFinite(gradientNorm)) {
      throw new CrayonError('loss-not-finite', `step ${index + 1}: loss ${loss}, gradient norm ${gradientNorm}`, {
        hint: 'Lower --learning-rate, or check the base model with `crayon score`.',
      });
    }
    const tokens = batches.reduce((n, b) => n + b.members.reduce((m, i) => m + this.#lengths[i]!, 0), 0);
    return { step: index + 1, totalSteps: this.totalSteps, loss, gradientNorm, learningRate, tokens };
  }

  /** All steps that are left. @throws CrayonError `interrupted` by the signal, between two steps */
  async finish(signal?: AbortSignal): Promise<void> {
    while (!this.done) {
      const { step, totalSteps } = await this.step();
      await eventLoopTurn();
      if (signal?.aborted) throw new CrayonError('interrupted', `stopped after step ${step} of ${totalSteps}`);
    }
  }

  state(): Promise<AdamWState> {
    return this.#learner.state();
  }

  dispose(): void {
    this.#learner.dispose();
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
