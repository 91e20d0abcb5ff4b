/** A way of customising the model for a user: what it is called, what it needs, and what it makes of the user's examples. */

import type { BlendChoice, Estimator } from '../../blend/coefficients.js';
import type { FromBlendOptions } from '../../blend/from-blend-options.js';
import type { Progress } from '../../core/long-work.js';
import type { EvaluationLora } from '../../train/evaluate.js';
import type { Answerer, LoadedModel } from '../answers.js';
import type { PoolStore } from '../pools.js';
import type { BenchRunDirectory } from '../run-directory.js';
import type { BenchConfig, BenchPool } from '../settings.js';
import type { Cell, RunManifest } from '../types.js';
import type { PlannedUser, TrainingSet, UserWithExamples } from '../users.js';

/**
 * To add one: a file beside this that exports such an object, and its line in strategies/index.ts. Commands that only need the
 * names load every strategy's file, so what loads a tensor library is imported when the strategy is run.
 */
export interface Strategy {
  /** in configurations and files */
  name: string;
  /** in tables */
  title: string;
  /** `reference`: what Crayon is measured against; `crayon`: drawn with emphasis */
  role?: 'reference' | 'crayon';
  /** Whether the result depends on which examples a user shows; if not, it is run for the first of a user's own seeds only. */
  looksAtExamples: boolean;
  /** Whether it measures a user's examples by the pool's own held-out ones, which the run then measures before. */
  usesStandards?: boolean;
  /** Whether it is defined for a user, by the configuration alone; a user for whom it is not has no cell. Absent for all. */
  appliesTo?(user: PlannedUser, config: BenchConfig): boolean;
  /** cells of a user where chance is part of it, each with a seed of its own; absent for one */
  draws?(config: BenchConfig): number;
  /** the pool that must be built before, with each of its rates where it has several; absent for none */
  poolOf?(cell: PlannedCell, store: PoolStore): BenchPool;
  customise(cell: PlannedCell, user: UserWithExamples, context: BenchContext): Promise<Customised>;
}

/** How a Crayon blend departs from its defaults. */
export interface BlendVariant extends Pick<BlendChoice, 'tau' | 'topK' | 'standardise' | 'lambda'> {
  estimator?: Estimator | undefined;
  refine?: number | undefined;
  /** where it departs from the configuration's own */
  loraFromBlend?: Partial<FromBlendOptions> | undefined;
  combine?: 'svd' | 'linear';
  rank?: number;
}

/** A cell that a run is to have. */
export interface PlannedCell extends Pick<Cell, 'key' | 'strategy' | 'table' | 'options' | 'seed' | 'runSeed'> {
  user: PlannedUser;
  /** the pool to blend from */
  pool: BenchPool;
  blend: BlendVariant;
}

/** What there is to work with. */
export interface BenchContext {
  config: BenchConfig;
  base: LoadedModel;
  /** opened when it is first asked for */
  server: () => LoadedModel;
  pools: PoolStore;
  /** what pools are trained on */
  training: TrainingSet;
  /** all of the run */
  users: readonly UserWithExamples[];
  /** of the run, to record what was chosen in it */
  manifest: RunManifest;
  directory: BenchRunDirectory;
  signal: AbortSignal;
  onProgress: (progress: Progress) => void;
}

export interface Customised {
  answerer: Answerer;
  /** from the examples to something that can answer */
  ms: number;
  /** what leaves the device for it */
  bytesToServer: number;
  /** numbers of the adapters that are on the device */
  parameters: number;
  coefficients?: number[];
  /** which candidate the examples chose, where they did */
  chosen?: string;
  evidence?: NonNullable<Cell['evidence']>;
}

/** A model that answers without any adapter. */
export function plain(answerer: Answerer): Customised {
  return { answerer, ms: 0, bytesToServer: 0, parameters: 0 };
}

/** The base model with one adapter for all prompts. */
export function adapted(base: LoadedModel, lora: EvaluationLora): Customised {
  return { ...plain({ ...base, loraFor: () => lora }), parameters: lora.layout.size };
}
