/** What a pool build is told, and its defaults. */

import type { Progress } from '../core/long-work.js';
import { PROJECTIONS, type Projection } from '../model/names.js';
import { TRAIN_DEFAULTS, type TrainSettings } from '../train/settings.js';
import type { LongPolicy } from './prepare.js';

/** `joint`: every example trains the mixture that blending will use; `independent`: only its own cluster's LoRA. */
export const TRAINING_MODES = ['joint', 'independent'] as const;

export interface BuildPoolOptions {
  /** Hugging Face directory of the base model */
  model: string;
  /** dataset files or YAML configurations */
  data: string[];
  /** where relative paths inside YAML configurations start, when not at the YAML itself */
  dataDir?: string | undefined;
  split?: string | undefined;
  /** at most this many examples of each dataset, drawn with the seed */
  limit?: number | undefined;
  /** the pool directory to write */
  out: string;
  /** number of base LoRAs, or `auto` for the best silhouette */
  clusters: number | 'auto';
  /** see parseEmbeddingKind */
  embedding: string;
  /** subtract the training set's mean embedding (dense kinds only) */
  centred: boolean;
  /** temperature of the gate softmax(cos / tau) */
  tau: number;
  mode: (typeof TRAINING_MODES)[number];
  /** rank of each base LoRA */
  r: number;
  targets: readonly Projection[];
  /** longest sequence in tokens; the model's context when absent */
  maxLength?: number | undefined;
  long: LongPolicy;
  training: TrainSettings;
  /** examples per cluster on which the losses before and after are measured */
  evaluationExamples: number;
  seed: number;
  /** replace an existing pool */
  force: boolean;
  /** ignore what an interrupted run left, instead of continuing it */
  fresh: boolean;
  /** seconds between checkpoints */
  checkpointSeconds: number;
}

export const BUILD_DEFAULTS: Omit<BuildPoolOptions, 'model' | 'data' | 'out'> = {
  clusters: 8,
  embedding: 'first-attention',
  centred: true,
  tau: 0.1,
  mode: 'joint',
  r: 8,
  targets: PROJECTIONS,
  long: 'error',
  training: TRAIN_DEFAULTS,
  evaluationExamples: 64,
  seed: 0,
  force: false,
  fresh: false,
  checkpointSeconds: 60,
};

/** A stage of the build, for progress displays. */
export type BuildStage = 'read' | 'embed' | 'cluster' | 'train' | 'evaluate' | 'write';

export type BuildProgress = Progress<BuildStage>;

export interface BuildHooks {
  onProgress?: (progress: BuildProgress) => void;
  /** Ends the training after the current step, with a checkpoint. */
  signal?: AbortSignal;
}
