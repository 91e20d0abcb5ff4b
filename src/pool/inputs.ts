/** Reads and checks all inputs of a pool build, before any work is done. */

import { CrayonError } from '../core/errors.js';
import { loadDataset, noExamples } from '../data/dataset.js';
import { HfModel } from '../hf/model.js';
import { leadingBos, loadTokenizer } from '../hf/tokenizer.js';
import type { BuildPoolOptions, BuildProgress } from './options.js';
import { type PreparedExample, prepareExamples } from './prepare.js';

export interface BuildInputs {
  model: HfModel;
  examples: PreparedExample[];
  sources: Array<{ path: string; sha256: string; examples: number }>;
  modelDigest: string;
  tokenizerDigest: string;
  /** what a forward pass starts with; null for models without BOS */
  bosId: number | null;
  /** longest sequence in tokens */
  maxLength: number;
  skipped: number;
  truncated: number;
  /** everything that the pool's bytes depend on */
  fingerprint: Record<string, unknown>;
}

export function readInputs(options: BuildPoolOptions, progress: (p: BuildProgress) => void): BuildInputs {
  checkNumbers(options);
  const model = HfModel.open(options.model);
  try {
    return readWith(model, options, progress);
  } catch (error) {
    model.close();
    throw error;
  }
}

function readWith(model: HfModel, options: BuildPoolOptions, progress: (p: BuildProgress) => void): BuildInputs {
  const tokenizer = loadTokenizer(options.model);
  const examples = [];
  const sources: BuildInputs['sources'] = [];
  for (const [i, path] of options.data.entries()) {
    progress({ stage: 'read', done: i, total: options.data.length });
    const { dataDir, split, limit, seed } = options;
    const dataset = loadDataset(path, { dataDir, split, limit, seed });
    examples.push(...dataset.examples);
    sources.push(...dataset.sources);
  }
  progress({ stage: 'read', done: options.data.length, total: options.data.length });
  if (examples.length === 0) throw noExamples(options.data);
  const context = model.config.maxPositionEmbeddings;
  const maxLength = Math.min(options.maxLength ?? context, context);
  const prepared = prepareExamples(examples, tokenizer, {
    maxLength,
    long: options.long,
    addEos: true,
    vocabSize: model.config.vocabSize,
  });
  if (prepared.examples.length === 0) {
    throw new CrayonError(
      'dataset-too-small',
      `all ${examples.length} training examples are longer than ${maxLength} tokens and were skipped`,
      { hint: 'Cut the front of their prompts with --long truncate, or raise --max-length if the model allows it.' },
    );
  }
  const modelDigest = model.digest();
  const tokenizerDigest = model.tokenizerDigest();
  return {
    model,
    examples: prepared.examples,
    sources,
    modelDigest,
    tokenizerDigest,
    bosId: leadingBos(tokenizer),
    maxLength,
    skipped: prepared.skipped,
    truncated: prepared.truncated,
    fingerprint: { modelDigest, tokenizerDigest, data: sources.map(({ sha256 }) => sha256), ...settingsOf(options) },
  };
}

/** Options that a pool's bytes do not depend on, or do through the digests of what they name. */
type Elsewhere = 'model' | 'data' | 'dataDir' | 'out' | 'force' | 'fresh' | 'checkpointSeconds';
type Settings = Omit<BuildPoolOptions, Elsewhere>;
type Every<T> = { [K in keyof Required<T>]: T[K] };

/** The options that a pool's bytes depend on; one that is not thought of here does not compile. */
export function settingsOf(options: BuildPoolOptions): Every<Settings> {
  const { clusters, embedding, centred, tau, mode, r, targets, long, training } = options;
  const { evaluationExamples, seed, split, limit, maxLength } = options;
  return {
    clusters,
    embedding,
    centred,
    tau,
    mode,
    r,
    targets,
    long,
    training,
    evaluationExamples,
    seed,
    split,
    limit,
    maxLength,
  };
}

function checkNumbers(options: BuildPoolOptions): void {
  const { clusters, tau, r, training, evaluationExamples } = options;
  const wrong = (name: string, value: unknown, expected: string) =>
    new CrayonError('bad-option', `${name} is ${value}, expected ${expected}`);
  const isCount = (x: number) => Number.isSafeInteger(x) && x >= 1;
  if (clusters !== 'auto' && !isCount(clusters)) throw wrong('clusters', clusters, 'a whole number from 1, or auto');
  if (!(tau > 0)) throw wrong('tau', tau, 'a number above 0');
  if (!isCount(r)) throw wrong('rank', r, 'a whole number from 1');
  if (!isCount(evaluationExamples)) throw wrong('evaluation examples', evaluationExamples, 'a whole number from 1');
  if (!(training.epochs > 0)) throw wrong('epochs', training.epochs, 'a number above 0');
  if (!(training.learningRate > 0)) throw wrong('learning rate', training.learningRate, 'a number above 0');
  if (!isCount(training.batchSize)) throw wrong('batch size', training.batchSize, 'a whole number from 1');
  if (!isCount(training.gradientAccumulation)) {
    throw wrong('gradient accumulation', training.gradientAccumulation, 'a whole number from 1');
  }
}
