/**
 * The users of a bench run: each shows k examples of a task, or of a mixture of tasks, and is tested on others. The pool was
 * trained on none of them.
 */

import { join } from 'node:path';
import { CrayonError } from '../core/errors.js';
import { createRandom } from '../core/random.js';
import { type Example, loadDataset } from '../data/dataset.js';
import { writeFileAtomic } from '../files/atomic.js';
import { sha256 } from '../files/digest.js';
import { drawAt } from './seeds.js';
import { type BenchConfig, findBenchPath } from './settings.js';
import type { ScoringMethod, UserInfo } from './types.js';

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
    const { examples, sources } = loadDataset(findBenchPath(path), {
      dataDir,
      split,
      limit: pool.dir === undefined ? limit : undefined,
      seed,
    });
    for (const { prompt } of examples) prompts.add(promptHash(prompt));
    digests.push(...sources.map((source) => source.sha256));
  }
  return { prompts, digests };
}

/** A split of a task's file, as its examples. */
export type ReadSplit = (file: string, split: string) => readonly Example[];

/** Reads each split once, for all seeds of a run: rendering its templates takes its time. */
export function splitReader(dataDir: string | undefined): ReadSplit {
  const known = new Map<string, readonly Example[]>();
  return (file, split) => {
    const key = JSON.stringify([file, split]);
    const examples = known.get(key) ?? loadDataset(file, { dataDir, split }).examples;
    known.set(key, examples);
    return examples;
  };
}

/**
 * Loads a task's two splits, each prompt once and none that the pool was trained on. Examples are compared by their prompts,
 * whatever file they stand in.
 *
 * @throws CrayonError `dataset-too-small` where nothing is left to show or to test, `dataset-invalid` where only some
 *   examples have choices
 */
export function loadBenchTask(
  path: string,
  config: BenchConfig,
  training: TrainingSet,
  readSplit: ReadSplit = splitReader(config.data_dir),
): BenchTask {
  const file = findBenchPath(path);
  const seen = new Set(training.prompts);
  let overlapping = 0;
  const read = (split: string): Example[] => {
    const all = readSplit(file, split);
    const left = all.filter(({ prompt }) => {
      const hash = promptHash(prompt);
      return !seen.has(hash) && seen.add(hash);
    });
    if (left.length === 0) {
      const where = "all of them in the pool's training set or the other split";
      throw new CrayonError('dataset-too-small', `${path}: split ${split} has ${all.length} examples, ${where}`, {
        hint: 'Train the pool on another split, or limit its examples.',
      });
    }
    overlapping += all.length - left.length;
    return left;
  };
  const shown = read(config.shown_split);
  const test = read(config.test_split);
  const generating = [...shown, ...test].filter((example) => example.choices === undefined).length;
  if (generating > 0 && generating < shown.length + test.length) {
    throw new CrayonError('dataset-invalid', `${path}: only some of its examples have choices`);
  }
  return { name: shown[0]!.dataset, shown, test, generates: generating > 0, overlapping };
}

/** By which an example is known in results, which hold no prompt. */
export function promptHash(prompt: string): string {
  return sha256(prompt.trim());
}

export interface PlannedUser {
  /** names its files: the name, with the run's seed, k and its own seed where the configuration has several */
  id: string;
  /** several seeds of one user have the same; their results are averaged */
  info: UserInfo;
  /** paths of its tasks */
  taskPaths: string[];
  /** of the draw of the examples */
  seed: number;
  /** of the run's seeds; absent where the configuration has no `seeds` */
  runSeed?: number | undefined;
  /** the first of its seeds */
  isFirst: boolean;
}

export interface UserWithExamples extends PlannedUser {
  /** that it takes its examples from, in its own order */
  tasks: readonly BenchTask[];
  shown: Example[];
  test: Example[];
  method: ScoringMethod;
}

/** One user for each number of examples and each of its seeds, at one seed of the run. */
export function planUsers(config: Pick<BenchConfig, 'users' | 'seed' | 'seeds'>): PlannedUser[] {
  const { users, seed: runSeed, seeds: ofRun = [] } = config;
  const inRun = ofRun.length > 1 ? `--seed=${runSeed}` : '';
  return users.flatMap(({ name, kind, tasks, k: shown, seeds }) => {
    const names = tasks.map((path) => path.replace(/^.*\//, '').replace(/\.ya?ml$/i, ''));
    const counts = [shown].flat();
    return counts.flatMap((k) =>
      seeds.map((seed) => ({
        id: `${name}${inRun}${counts.length > 1 ? `--k${k}` : ''}${seeds.length > 1 ? `--s${seed}` : ''}`,
        info: { name, kind, tasks: names, k },
        taskPaths: tasks,
        seed: drawAt(config, seed),
        runSeed: ofRun.length > 0 ? runSeed : undefined,
        isFirst: seed === seeds[0],
      })),
    );
  });
}

/**
 * Draws a user's examples and test. With fewer examples a user shows the first of those it would show with more; the test
 * depends on the run's seed alone, so users of one task are tested on the same examples.
 *
 * @param tasks in the order of the user's own
 * @throws CrayonError `dataset-too-small`; `config-invalid` for tasks that are scored in different ways
 */
export function drawExamples(
  user: PlannedUser,
  tasks: readonly BenchTask[],
  { seed, test_examples: testExamples }: Pick<BenchConfig, 'seed' | 'test_examples'>,
): UserWithExamples {
  const { info } = user;
  if (tasks.some((task) => task.generates !== tasks[0]!.generates)) {
    throw new CrayonError(
      'config-invalid',
      `${info.name}: ${info.tasks.join(' and ')} are scored in different ways, some by choices and some by generation`,
    );
  }
  const shown = tasks.map((task, i) => {
    const count = part(info.k, tasks.length, i);
    if (task.shown.length < count) {
      throw new CrayonError(
        'dataset-too-small',
        `${info.name}: ${task.name} has ${task.shown.length} examples to show, expected ${count}`,
      );
    }
    return draw(task.shown, count, user.seed, `shown of ${task.name}`);
  });
  const test = tasks.flatMap((task, i) => {
    const chosen = new Set(draw(task.test, part(testExamples, tasks.length, i), seed, `test of ${task.name}`));
    return task.test.filter((example) => chosen.has(example));
  });
  const method = tasks[0]!.generates ? 'generation' : 'loglikelihood';
  return { ...user, tasks, shown: interleave(shown), test, method };
}

/** Writes what a user shows as a data set, as `crayon blend` reads it. @returns its path */
export function writeShown({ shown }: UserWithExamples, dir: string): string {
  const path = join(dir, 'examples.jsonl');
  const lines = shown.map(({ prompt, completion }) => `${JSON.stringify({ prompt, completion })}\n`);
  writeFileAtomic(path, lines.join(''));
  return path;
}

/** Share i of `total` in `parts` parts; the first ones take what is left over. */
function part(total: number, parts: number, i: number): number {
  return Math.floor(total / parts) + (i < total % parts ? 1 : 0);
}

function draw(examples: readonly Example[], count: number, seed: number, label: string): Example[] {
  return createRandom(seed, label)
    .shuffle([...examples])
    .slice(0, count);
}

/** a1 b1 a2 b2 ...: a mixture's examples in turns. */
function interleave(lists: readonly Example[][]): Example[] {
  const longest = Math.max(...lists.map((list) => list.length));
  return Array.from({ length: longest }, (_, i) => lists.flatMap((list) => list.slice(i, i + 1))).flat();
}
