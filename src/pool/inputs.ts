/** What a pool build is told, with its defaults; the inputs it reads and checks before any work; and what it would then do. */

import { CrayonError } from '../core/errors.js';
import type { Progress } from '../core/long-work.js';
import { createRandom } from '../core/random.js';
import { loadDataset, noExamples } from '../data/dataset.js';
import type { Turns } from '../data/record.js';
import { AtomicDirectory } from '../files/atomic.js';
import { openBase } from '../gguf/base.js';
import type { BaseModel } from '../hf/base-model.js';
import { nameForOthers } from '../hf/base-name.js';
import { chosenProjections } from '../hf/families.js';
import { choosePromptForm, type PromptForm, type PromptFormName, promptRecord } from '../hf/prompt-form.js';
import { leadingBos } from '../hf/tokenizer.js';
import { TRAIN_DEFAULTS, type TrainSettings } from '../train/settings.js';
import { candidateCounts } from './cluster.js';
import { POOL_MANIFEST } from './pool.js';
import { type LongPolicy, type Prepared, type PreparedExample, prepareExamples } from './prepare.js';
import { type TrainerOptions, trainerRecord } from './trainers/options.js';

/**
 * `joint`: every example trains the mixture that blending will use; `independent`: only its own cluster's LoRA, all of them in the same
 * steps, with one schedule and one clipped norm; `separate`: each cluster's LoRA is a training by itself, on its own batches and of its
 * own schedule, so that clusters can be trained anywhere in any order.
 */
export const TRAINING_MODES = ['joint', 'independent', 'separate'] as const;
export type TrainingMode = (typeof TRAINING_MODES)[number];

/** `mini-batch`: the embeddings stay on disk, and memory does not grow with them; `full`: all of them in memory. */
export const CLUSTERINGS = ['full', 'mini-batch'] as const;

/** Of the general adapter; everything else is as for the base LoRAs. */
export interface GeneralOptions {
  r: number;
  learningRate: number;
  epochs: number;
}

/** Of the joint phase behind adapters that were trained each by itself; everything else is as for them. */
export interface JointOptions {
  /** its steps, as a share of those that mode joint would take */
  fraction: number;
  learningRate: number;
  /** examples per batch, where it is not that of the adapters' own trainings */
  batchSize?: number | undefined;
}

/** Of the rate that the adapters were trained with, where the phase is given none of its own (docs/experiments.md). */
export const JOINT_RATE_SHARE = 0.25;

/** Steps of the phase that warm up: its moments begin at zero where its parameters do not. */
const JOINT_WARMUP_SHARE = 0.1;

/** How the joint phase is trained. */
export const jointSettings = (
  training: TrainSettings,
  { fraction, learningRate, batchSize = training.batchSize }: JointOptions,
): TrainSettings => ({
  ...training,
  batchSize,
  epochs: training.epochs * fraction,
  learningRate,
  warmupShare: JOINT_WARMUP_SHARE,
});

export interface BuildPoolOptions {
  /** the base model: a Hugging Face directory or a GGUF file */
  model: string;
  /** dataset files or YAML configurations */
  data: string[];
  /** where relative paths inside YAML configurations start, when not at the YAML itself */
  dataDir?: string | undefined;
  split?: string | undefined;
  /** at most this many examples of each dataset, drawn with the seed */
  limit?: number | undefined;
  /** which answers of a conversation are examples; `last` when absent */
  turns?: Turns | undefined;
  /** by default chat where the model has a chat template */
  promptForm?: PromptFormName | undefined;
  /** form chat: system message of the conversations that have none */
  system?: string | undefined;
  /** the pool directory to write */
  out: string;
  /** number of base LoRAs, or `auto` for the best silhouette */
  clusters: number | 'auto';
  /** how clusters are found; when absent `full`, and `mini-batch` where the embeddings do not fit `memory` */
  clustering?: (typeof CLUSTERINGS)[number] | undefined;
  /** see parseEmbeddingKind */
  embedding: string;
  /** subtract the training set's mean embedding (dense kinds only) */
  centred: boolean;
  /** temperature of the gate softmax(cos / tau) */
  tau: number;
  mode: TrainingMode;
  /** rank of each base LoRA */
  r: number;
  /** one LoRA on everything, trained first and kept: the base LoRAs are trained on top of it; none when absent */
  general?: GeneralOptions | undefined;
  /** of mode separate: steps that all adapters share, from where each has come by itself; none when absent */
  joint?: JointOptions | undefined;
  /** the projections that get a LoRA, by their names in the checkpoint, last part or whole */
  targets: readonly string[] | 'all';
  /** longest sequence in tokens; the model's context when absent */
  maxLength?: number | undefined;
  long: LongPolicy;
  training: TrainSettings;
  /** who trains; crayon itself when absent */
  trainer?: TrainerOptions | undefined;
  /** examples per cluster on which the losses before and after are measured */
  evaluationExamples: number;
  /** examples for each cluster that are not trained on: what the adapters lose on them is kept in the pool; none when absent */
  heldOut?: number | undefined;
  seed: number;
  /** replace an existing pool */
  force: boolean;
  /** ignore what an interrupted run left, instead of continuing it */
  fresh: boolean;
  /** seconds between checkpoints */
  checkpointSeconds: number;
  /** bytes that the process may take; three quarters of what is free when absent */
  memory?: number | undefined;
}

export const BUILD_DEFAULTS: Omit<BuildPoolOptions, 'model' | 'data' | 'out'> = {
  clusters: 8,
  embedding: 'first-attention',
  centred: true,
  tau: 0.1,
  mode: 'joint',
  r: 8,
  targets: 'all',
  long: 'error',
  training: TRAIN_DEFAULTS,
  evaluationExamples: 64,
  seed: 0,
  force: false,
  fresh: false,
  checkpointSeconds: 60,
};

/** A stage of the build, for progress displays. */
export type BuildStage = 'read' | 'embed' | 'cluster' | 'general' | 'train' | 'joint' | 'evaluate' | 'write';

export type BuildProgress = Progress<BuildStage>;

export interface BuildHooks {
  onProgress?: (progress: BuildProgress) => void;
  /** Ends the training after the current step, with a checkpoint. */
  signal?: AbortSignal;
}

export interface BuildInputs extends Prepared {
  /** not among the examples, and not trained on */
  heldOut: PreparedExample[];
  model: BaseModel;
  /** in the manifest */
  baseName: string;
  sources: Array<{ path: string; sha256: string; examples: number }>;
  modelDigest: string;
  tokenizerDigest: string;
  /** what a forward pass starts with; null for models without BOS */
  bosId: number | null;
  /** in which prompts are trained, and will be served */
  form: PromptForm;
  /** source of the chat template that the form goes through; null for plain */
  template: string | null;
  /** in checkpoint order */
  targets: string[];
  /** longest sequence in tokens */
  maxLength: number;
  /** everything that the pool's bytes depend on, but for its joint phase, which the plan has (units/plan.ts) */
  fingerprint: Record<string, unknown>;
}

/** @throws CrayonError for every fault of the inputs, `output-exists` when the pool may not be written */
export function readInputs(options: BuildPoolOptions, progress: (p: BuildProgress) => void = () => {}): BuildInputs {
  new AtomicDirectory(options.out, { force: options.force, marker: POOL_MANIFEST }).abort();
  checkNumbers(options);
  const model = openBase(options.model);
  try {
    return readWith(model, options, progress);
  } catch (error) {
    model.close();
    throw error;
  }
}

function readWith(model: BaseModel, options: BuildPoolOptions, progress: (p: BuildProgress) => void): BuildInputs {
  const targets = chosenProjections(model.config.modelType, options.targets);
  const tokenizer = model.tokenizer();
  const form = choosePromptForm(tokenizer, options, options.model);
  const { dataDir, split, limit, turns, seed, data } = options;
  const examples = [];
  const sources: BuildInputs['sources'] = [];
  for (const [i, path] of data.entries()) {
    progress({ stage: 'read', done: i, total: data.length });
    const dataset = loadDataset(path, { dataDir, split, limit, turns, seed });
    examples.push(...dataset.examples);
    sources.push(...dataset.sources);
  }
  progress({ stage: 'read', done: data.length, total: data.length });
  if (examples.length === 0) throw noExamples(data);
  const { maxPositionEmbeddings: context, vocabSize } = model.config;
  const maxLength = Math.min(options.maxLength ?? context, context);
  const prepared = prepareExamples(examples, tokenizer, {
    maxLength,
    long: options.long,
    form,
    addEnd: true,
    vocabSize,
  });
  if (prepared.examples.length === 0) {
    throw new CrayonError(
      'dataset-too-small',
      `all ${examples.length} training examples are longer than ${maxLength} tokens and were skipped`,
      { hint: 'Cut the front of their prompts with --long truncate, or raise --max-length if the model allows it.' },
    );
  }
  const { trained, heldOut } = holdOut(prepared.examples, options);
  const modelDigest = model.digest();
  const tokenizerDigest = model.tokenizerDigest();
  return {
    ...prepared,
    examples: trained,
    heldOut,
    model,
    baseName: nameForOthers(options.model),
    sources,
    modelDigest,
    tokenizerDigest,
    bosId: leadingBos(tokenizer),
    form,
    template: form.kind === 'chat' ? tokenizer.chatTemplate : null,
    targets,
    maxLength,
    fingerprint: {
      modelDigest,
      tokenizerDigest,
      data: sources.map(({ sha256 }) => sha256),
      ...settingsOf(options),
      prompt: promptRecord(form),
      targets,
    },
  };
}

/** As many for each cluster as are asked for, drawn from all of them; at most half. Those that are left keep their order. */
function holdOut(examples: PreparedExample[], { heldOut: each = 0, clusters, seed }: BuildPoolOptions) {
  if (each === 0) return { trained: examples, heldOut: [] };
  const count = each * Math.max(...candidateCounts(examples.length, clusters));
  const order = createRandom(seed, 'held out').shuffle(examples.map((_, i) => i));
  const chosen = new Set(order.slice(0, Math.min(count, Math.floor(examples.length / 2))));
  return { trained: examples.filter((_, i) => !chosen.has(i)), heldOut: examples.filter((_, i) => chosen.has(i)) };
}

/** Options that a pool's bytes do not depend on, or do through the digests of what they name, the form that they choose or a joint phase's plan. */
type Elsewhere =
  | 'model'
  | 'data'
  | 'dataDir'
  | 'promptForm'
  | 'system'
  | 'out'
  | 'trainer'
  | 'joint'
  | 'force'
  | 'fresh'
  | 'checkpointSeconds'
  | 'memory';
type Settings = Omit<BuildPoolOptions, Elsewhere>;
type Every<T> = { [K in keyof Required<T>]: T[K] };

/** The options that a pool's bytes depend on; one that is not thought of here does not compile. */
export function settingsOf(options: BuildPoolOptions) {
  const { clusters, clustering, embedding, centred, tau, mode, r, targets, long, training } = options;
  const { evaluationExamples, heldOut, seed, split, limit, turns, maxLength, general } = options;
  const settings: Every<Settings> = {
    clusters,
    clustering,
    embedding,
    centred,
    tau,
    mode,
    r,
    targets,
    long,
    training,
    evaluationExamples,
    heldOut,
    seed,
    split,
    limit,
    turns,
    maxLength,
    general,
  };
  return { ...settings, trainer: trainerRecord(options.trainer) };
}

function checkNumbers(options: BuildPoolOptions): void {
  const { clusters, tau, r, training, evaluationExamples, general, mode, joint } = options;
  const wrong = (name: string, value: unknown, expected: string) =>
    new CrayonError('bad-option', `${name} is ${value}, expected ${expected}`);
  const isCount = (x: number) => Number.isSafeInteger(x) && x >= 1;
  if (general !== undefined && mode === 'separate') {
    throw new CrayonError(
      'bad-option',
      'a general adapter in mode separate, whose adapters are trained each by itself',
      {
        hint: 'Leave it out, or train in mode joint or independent.',
      },
    );
  }
  if (joint !== undefined && mode !== 'separate') {
    throw new CrayonError('bad-option', `a joint phase in mode ${mode}, whose adapters share their steps anyway`, {
      hint: 'Leave it out, or train in mode separate.',
    });
  }
  if (clusters !== 'auto' && !isCount(clusters)) throw wrong('clusters', clusters, 'a whole number from 1, or auto');
  const counts = {
    rank: r,
    'evaluation examples': evaluationExamples,
    'batch size': training.batchSize,
    'gradient accumulation': training.gradientAccumulation,
    ...(general && { 'general rank': general.r }),
    ...(joint?.batchSize !== undefined && { 'joint batch size': joint.batchSize }),
  };
  for (const [name, x] of Object.entries(counts)) if (!isCount(x)) throw wrong(name, x, 'a whole number from 1');
  const ofGeneral = general && { 'general epochs': general.epochs, 'general learning rate': general.learningRate };
  const ofJoint = joint && { 'joint fraction': joint.fraction, 'joint learning rate': joint.learningRate };
  const numbers = { tau, epochs: training.epochs, 'learning rate': training.learningRate, ...ofGeneral, ...ofJoint };
  for (const [name, x] of Object.entries(numbers)) if (!(x > 0)) throw wrong(name, x, 'a number above 0');
}
