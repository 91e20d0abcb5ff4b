/** The users of a bench run: each shows k examples of a task, or of a mixture of tasks, and is tested on others. */

import { join } from 'node:path';
import { CrayonError } from '../core/errors.js';
import { createRandom } from '../core/random.js';
import type { Example } from '../data/dataset.js';
import { writeFileAtomic } from '../files/atomic.js';
import type { BenchConfig, BenchUser } from './settings.js';
import type { BenchTask } from './tasks.js';
import type { ScoringMethod, UserInfo } from './types.js';

export interface PlannedUser {
  /** names its files: the name, with k and seed where the configuration has several */
  id: string;
  /** several seeds of one user have the same; their results are averaged */
  info: UserInfo;
  /** paths of its tasks */
  taskPaths: string[];
  /** of the draw of the examples */
  seed: number;
  /** the first of its seeds */
  isFirst: boolean;
}

export interface UserWithExamples extends PlannedUser {
  shown: Example[];
  test: Example[];
  method: ScoringMethod;
}

/** One user for each number of examples and each seed. */
export function planUsers({ users }: Pick<BenchConfig, 'users'>): PlannedUser[] {
  return users.flatMap((user) => {
    const counts = [user.k].flat();
    return counts.flatMap((k) => user.seeds.map((seed) => planUser(user, k, seed, counts.length > 1)));
  });
}

function planUser(
  { name, kind, tasks, seeds }: BenchUser,
  k: number,
  seed: number,
  severalCounts: boolean,
): PlannedUser {
  const id = `${name}${severalCounts ? `--k${k}` : ''}${seeds.length > 1 ? `--s${seed}` : ''}`;
  const names = tasks.map((path) => path.replace(/^.*\//, '').replace(/\.ya?ml$/i, ''));
  return { id, info: { name, kind, tasks: names, k }, taskPaths: tasks, seed, isFirst: seed === seeds[0] };
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
    const chosen = draw(task.test, part(testExamples, tasks.length, i), seed, `test of ${task.name}`);
    return chosen
      .map((example) => task.test.indexOf(example))
      .sort((a, b) => a - b)
      .map((at) => task.test[at]!);
  });
  return { ...user, shown: interleave(shown), test, method: tasks[0]!.generates ? 'generation' : 'loglikelihood' };
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
