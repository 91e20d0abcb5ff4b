/** What the live run needs of one user: its files, its calibration examples, and what the server's answers cost. */

import { join } from 'node:path';
import { blendPool } from '../../blend/blend-pool.js';
import { CrayonError } from '../../core/errors.js';
import { createRandom } from '../../core/random.js';
import type { Example } from '../../data/dataset.js';
import { ensureDirectory } from '../../files/atomic.js';
import { MIN_RECORDS } from '../../routing/calibrate/data.js';
import { type BenchTask, promptHash } from '../tasks.js';
import { type UserWithExamples, writeShown } from '../users.js';
import type { EndpointAnswers } from './endpoint.js';
import type { BenchLive } from './settings.js';

export interface LiveUser extends UserWithExamples {
  /** held-out examples that are neither shown nor tested */
  calibration: Example[];
}

/** Draws the calibration examples from what the tasks have to show, less what the user shows and is tested on. */
export function liveUser(user: UserWithExamples, tasks: readonly BenchTask[], count: number): LiveUser {
  const used = new Set([...user.shown, ...user.test].map(({ prompt }) => promptHash(prompt)));
  const left = tasks.flatMap((task) => task.shown.filter(({ prompt }) => !used.has(promptHash(prompt))));
  if (left.length < MIN_RECORDS) {
    throw new CrayonError(
      'dataset-too-small',
      `${user.info.name}: ${left.length} held-out examples are left to calibrate on, expected at least ${MIN_RECORDS}`,
    );
  }
  const order = createRandom(user.seed, `calibration of ${user.id}`).shuffle([...left]);
  return { ...user, calibration: order.slice(0, count) };
}

export interface UserFiles {
  /** what the user shows, for the scope signal */
  examples: string;
  adapter: string;
  blend: { ms: number; bytes: number; coefficients: number[] };
}

/** Writes the user's examples and blends its adapter, as `crayon blend` does. */
export async function prepareUser(
  user: UserWithExamples,
  { pool, base }: { pool: string; base: string },
  dir: string,
): Promise<UserFiles> {
  ensureDirectory(dir);
  const examples = writeShown(user, dir);
  const adapter = join(dir, 'adapter');
  const { coefficients, totalMs, blend } = await blendPool({
    pool,
    examples: user.shown,
    model: base,
    out: adapter,
    estimator: 'similarity',
    combine: 'cat',
    dtype: 'F32',
    long: 'truncate',
    force: true,
  });
  return { examples, adapter, blend: { ms: totalMs, bytes: blend.bytes, coefficients } };
}

/** Money for 1,000 such queries; null without prices, and where the server does not count its tokens. */
export function costPer1000({ records, answers }: EndpointAnswers, prices: BenchLive['prices']): number | null {
  if (prices === null) return null;
  let money = 0;
  for (const [i, answer] of answers.entries()) {
    if (answer === null || records[i]!.source !== 'in_cloud') continue;
    if (answer.usage === null) return null;
    const { promptTokens, completionTokens } = answer.usage;
    money += (promptTokens * prices.input_per_million + completionTokens * prices.output_per_million) / 1e6;
  }
  return (1000 * money) / answers.length;
}
