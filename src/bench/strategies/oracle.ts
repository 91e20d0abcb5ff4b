/**
 * The blend of one who knows which tasks a user's examples come from, and what the pool's clusters are made of: each adapter weighs
 * as much as the share of its cluster's training examples that come from the user's tasks. What an estimate from examples can reach
 * at most, on tasks that the pool was trained on; other users have no such cell.
 */

import { CrayonError } from '../../core/errors.js';
import { datasetNames } from '../../data/dataset.js';
import type { PoolManifest } from '../../pool/pool.js';
import { findBenchPath } from '../settings.js';
import { blend } from './blends.js';
import type { Strategy } from './strategy.js';

export const oracle: Strategy = {
  name: 'oracle',
  title: 'Blend by known tasks',
  looksAtExamples: false,
  appliesTo({ taskPaths }, { pool }) {
    const names = (paths: readonly string[]) => paths.flatMap((path) => datasetNames(findBenchPath(path)));
    const trained = new Set(names(pool.data));
    return names(taskPaths).every((name) => trained.has(name));
  },
  poolOf: ({ pool }) => pool,
  customise(cell, user, context) {
    const tasks = new Set(user.tasks.flatMap(({ shown }) => shown.map(({ dataset }) => dataset)));
    return blend(cell, user, context, 'given', (pool) => taskWeights(pool, tasks));
  },
};

/** alpha (N), with sum 1. @throws CrayonError `pool-mismatch` where no cluster has an example of the tasks */
export function taskWeights({ clusters }: Pick<PoolManifest, 'clusters'>, tasks: ReadonlySet<string>): number[] {
  const shares = clusters.map(({ size, tasks: counts }) => {
    const ofTasks = Object.entries(counts).reduce((sum, [task, count]) => sum + (tasks.has(task) ? count : 0), 0);
    return size === 0 ? 0 : ofTasks / size;
  });
  const total = shares.reduce((sum, share) => sum + share, 0);
  if (total > 0) return shares.map((share) => share / total);
  throw new CrayonError('pool-mismatch', `no cluster of the pool has a training example of ${[...tasks].join(', ')}`, {
    hint: 'pool.data names other data sets than the pool of pool.dir was trained on.',
  });
}
