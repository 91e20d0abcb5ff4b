/**
 * A control: the user gets Crayon's blend for another user's examples. What it loses against Crayon is what the user's own examples
 * are worth; where it loses nothing, any blend would do. Which tasks are of one kind says the configuration (`wrong_user.alike`).
 */

import { CrayonError } from '../../core/errors.js';
import { createRandom } from '../../core/random.js';
import type { Example } from '../../data/dataset.js';
import type { BenchConfig } from '../settings.js';
import { drawExamples, type PlannedUser, planUsers, type UserWithExamples } from '../users.js';
import { blend } from './blends.js';
import type { BenchContext, Strategy } from './strategy.js';

export const wrongUser: Strategy = {
  name: 'wrong-user',
  title: "Crayon, another user's examples",
  looksAtExamples: true,
  appliesTo: (user, config) => unlikeUsers(user, config).length > 0,
  poolOf: ({ pool }) => pool,
  customise: (cell, user, context) => blend(cell, { shown: examplesOfAnother(user, context) }, context, 'similarity'),
};

/** Names of the users none of whose tasks is one of this user's or of a kind with it, in the configuration's order. */
export function unlikeUsers(
  { info }: Pick<PlannedUser, 'info'>,
  config: Pick<BenchConfig, 'seed' | 'seeds' | 'users' | 'wrong_user'>,
): string[] {
  const kinds = (tasks: readonly string[]) =>
    new Set(tasks.flatMap((task) => [task, ...config.wrong_user.alike.filter((list) => list.includes(task)).flat()]));
  const alike = kinds(info.tasks);
  const names = planUsers(config).filter((other) => other.info.tasks.every((task) => !alike.has(task)));
  return [...new Set(names.map((other) => other.info.name))];
}

/** As many examples as the user shows itself, of another user that its seed draws. @throws CrayonError `dataset-too-small` */
function examplesOfAnother(user: UserWithExamples, { config, users }: BenchContext): Example[] {
  const { k, name } = user.info;
  const order = createRandom(user.seed, `wrong user for ${name}`).shuffle(unlikeUsers(user, config));
  for (const wrong of order) {
    const { tasks, ...other } = users.find(({ info }) => info.name === wrong)!;
    if (tasks.some((task) => task.shown.length < k)) continue;
    return drawExamples({ ...other, info: { ...other.info, k }, seed: user.seed }, tasks, config).shown;
  }
  throw new CrayonError('dataset-too-small', `${name}: none of ${order.join(', ')} has ${k} examples to show`, {
    hint: 'wrong-user needs a user of another kind of task with as many examples.',
  });
}
