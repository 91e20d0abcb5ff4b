/** What trains a pool's adapters. A trainer is a row of index.ts. */

import type { LoraLayout } from '../../model/lora-layout.js';
import type { Network } from '../../model/network.js';
import type { TrainingExample } from '../../train/batches.js';
import type { MicroBatches } from '../../train/micro-batches.js';
import type { BuildHooks, BuildInputs, BuildPoolOptions } from '../inputs.js';
import type { WorkDirectory } from '../work-directory.js';
import type { TrainerName } from './options.js';

export interface TrainingTask {
  /** names its checkpoints and its progress */
  phase: 'general' | 'train' | 'joint';
  /** parameters to begin with; PEFT's when absent */
  start?: Float32Array | undefined;
  /** trained before, by itself; then kept in the frozen adapters of the layout (src/pool/general.ts) */
  general?: TrainingTask | undefined;
  options: BuildPoolOptions;
  hooks: BuildHooks;
  inputs: Pick<BuildInputs, 'model' | 'fingerprint'> & { examples: readonly TrainingExample[] };
  /** where checkpoints are kept */
  work: WorkDirectory;
  layout: LoraLayout;
  /** coefficients of each example, one for each adapter of the layout */
  gates: ReadonlyArray<ArrayLike<number>>;
  /** the examples on which the losses before and after will be asked for */
  evaluated: readonly number[];
  /** parts in which crayon's own trainer reads batches */
  micro: MicroBatches | undefined;
  /** The model, open for forward passes: its weights are read when this is first called. */
  model(): Network;
}

export interface Trained {
  parameters: Float32Array;
  /** loss of every step */
  losses: Float32Array;
  tokensPerSecond: number;
}

export interface TrainedAdapters extends Trained {
  /** of the task's own `general` */
  general?: Trained | undefined;
  /** the phase behind a training of each adapter by itself */
  joint?: Trained | undefined;
  /** Mean loss per completion token of some of the evaluated examples, in nats: of the base model, or through each one's mixture. */
  lossOf(members: number[], adapted: boolean): Promise<number>;
}

export interface TrainerKind {
  readonly name: TrainerName;
  /** It computes with the task's `model`, whose weights are then read before anything else is done. */
  readonly needsModel: boolean;
  /**
   * Trains all adapters, the general one first, from the beginning or from a checkpoint.
   *
   * @throws CrayonError `interrupted` with a checkpoint when the hooks' signal fires, `loss-not-finite`
   */
  train(task: TrainingTask): Promise<TrainedAdapters>;
}

const PHASES = { general: ' of the general adapter', train: '', joint: ' of the joint phase' };

/** How an interrupted training says where it was. */
export function stoppedAfter(phase: TrainingTask['phase'], step: number, totalSteps: number): string {
  return `stopped after step ${step} of ${totalSteps}${PHASES[phase]}`;
}
