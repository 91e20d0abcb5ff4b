/** Examples of the training sets' tasks that nothing else of a run has seen, to choose settings by. */

import { CrayonError } from '../../core/errors.js';
import { createRandom } from '../../core/random.js';
import { groupBy } from '../../core/stats.js';
import { type Example, loadDataset } from '../../data/dataset.js';
import { findBenchPath } from '../settings.js';
import { promptHash } from '../users.js';
import type { BenchContext } from './strategy.js';

/**
 * Of each data set as many as the configuration has, or all that are left, none of which a pool was trained on or a user is shown
 * or tested on, each prompt once.
 *
 * @throws CrayonError `dataset-too-small` where a data set has none left
 */
export function heldOutExamples({
  config,
  training,
  users,
}: Pick<BenchContext, 'config' | 'training' | 'users'>): Example[] {
  const { held_out: heldOut, pool, data_dir: dataDir } = config;
  const { data = pool.data, split, examples: count } = heldOut;
  const used = new Set(training.prompts);
  for (const { shown, test } of users) for (const { prompt } of [...shown, ...test]) used.add(promptHash(prompt));
  const all = data.flatMap((path) => loadDataset(findBenchPath(path), { dataDir, split }).examples);
  return [...groupBy(all, ({ dataset }) => dataset)].flatMap(([name, examples]) => {
    const left = examples.filter(({ prompt }) => {
      const hash = promptHash(prompt);
      return !used.has(hash) && used.add(hash);
    });
    if (left.length > 0) return createRandom(config.seed, `held out of ${name}`).shuffle(left).slice(0, count);
    const why = 'each of them is in the training set, shown or tested';
    throw new CrayonError(
      'dataset-too-small',
      `held_out: none of ${examples.length} examples of ${name} is left: ${why}`,
      {
        hint: 'Name other data sets or another split in held_out, or limit the training set.',
      },
    );
  });
}
