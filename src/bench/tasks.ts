/** The tasks of a bench run: examples to show and examples to test on, none of which the pool was trained on. */

import { CrayonError } from '../core/errors.js';
import { type Example, loadDataset } from '../data/dataset.js';
import { sha256 } from '../files/digest.js';
import { findBenchPath } from './paths.js';
import type { BenchConfig } from './settings.js';

export interface BenchTask {
  name: string;
  /** candidates for the examples that a user shows */
  shown: Example[];
  /** candidates for the test, no prompt of which is among `shown` */
  test: Example[];
  /** answers are generated; else chosen */
  generates: boolean;
  /** examples left out because their prompt is in the training set, or in both splits */
  overlapping: number;
}

/** What the pool is trained on. */
export interface TrainingSet {
  /** SHA-256 of every prompt */
  prompts: ReadonlySet<string>;
  /** data files in order, with their digests */
  digests: string[];
}

/** Reads the pool's training set as the build reads it: the same files, split, limit and draw. */
export function readTrainingSet({ pool, data_dir: dataDir }: BenchConfig): TrainingSet {
  const { split, limit, seed } = pool;
  const prompts = new Set<string>();
  const digests: string[] = [];
  for (const path of pool.data) {
    // a pool that is given may have seen all of its data
    const options = { dataDir, split, ...(pool.dir === undefined ? { limit } : {}), seed };
    const { examples, sources } = loadDataset(findBenchPath(path), options);
    for (const { prompt } of examples) prompts.add(promptHash(prompt));
    digests.push(...sources.map((source) => source.sha256));
  }
  return { prompts, digests };
}

/**
 * Loads a task's two splits. Examples are compared by their prompts, whatever file they stand in.
 *
 * @throws CrayonError `dataset-too-small` where nothing is left to show or to test, `dataset-invalid` where only some
 *   examples have choices
 */
export function loadBenchTask(path: string, config: BenchConfig, training: TrainingSet): BenchTask {
  const file = findBenchPath(path);
  const load = (split: string) => loadDataset(file, { dataDir: config.data_dir, split }).examples;
  const [allShown, allTest] = [load(config.shown_split), load(config.test_split)];
  const shown = distinct(allShown, training.prompts);
  const test = distinct(allTest, training.prompts, new Set(shown.map(({ prompt }) => promptHash(prompt))));
  for (const [split, left, all] of [
    [config.shown_split, shown, allShown],
    [config.test_split, test, allTest],
  ] as const) {
    if (left.length > 0) continue;
    throw new CrayonError(
      'dataset-too-small',
      `${path}: split ${split} has ${all.length} examples, all of them in the pool's training set or the other split`,
      { hint: 'Train the pool on another split, or limit its examples.' },
    );
  }
  const generating = [...shown, ...test].filter((example) => example.choices === undefined).length;
  if (generating > 0 && generating < shown.length + test.length) {
    throw new CrayonError('dataset-invalid', `${path}: only some of its examples have choices`);
  }
  return {
    name: shown[0]!.dataset,
    shown,
    test,
    generates: generating > 0,
    overlapping: allShown.length - shown.length + allTest.length - test.length,
  };
}

/** By which an example is known in results, which hold no prompt. */
export function promptHash(prompt: string): string {
  return sha256(prompt.trim());
}

/** Each prompt once, and none of those excluded. */
function distinct(examples: readonly Example[], ...excluded: ReadonlyArray<ReadonlySet<string>>): Example[] {
  const seen = new Set<string>();
  return examples.filter(({ prompt }) => {
    const hash = promptHash(prompt);
    if (seen.has(hash) || excluded.some((set) => set.has(hash))) return false;
    seen.add(hash);
    return true;
  });
}
