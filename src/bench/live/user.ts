/** What the live run needs of one user: its files, its calibration examples, and cells made of answers. */

import { join } from 'node:path';
import { blendPool } from '../../blend/blend-pool.js';
import { CrayonError } from '../../core/errors.js';
import { createRandom } from '../../core/random.js';
import { mean, standardError } from '../../core/stats.js';
import type { Example } from '../../data/dataset.js';
import type { TimedAnswer } from '../../engine/server/chat-client.js';
import { ensureDirectory, writeFileAtomic } from '../../files/atomic.js';
import { MIN_RECORDS } from '../../routing/calibrate/data.js';
import { summariseLatency } from '../latency.js';
import { type BenchTask, promptHash } from '../tasks.js';
import type { Cell } from '../types.js';
import type { PlannedUser, PlayedUser } from '../users.js';
import type { BenchLive } from './config.js';
import type { EndpointAnswers } from './endpoint.js';

export interface LiveUser extends PlayedUser {
  /** held-out examples that are neither shown nor tested */
  calibration: Example[];
}

/** Draws the calibration examples from what the tasks have to show, less what the user shows and is tested on. */
export function liveUser(user: PlayedUser, tasks: readonly BenchTask[], count: number): LiveUser {
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
export async function prepareUser(user: PlayedUser, pool: string, model: string, dir: string): Promise<UserFiles> {
  ensureDirectory(dir);
  const examples = join(dir, 'examples.jsonl');
  const lines = user.shown.map(({ prompt, completion }) => `${JSON.stringify({ prompt, completion })}\n`);
  writeFileAtomic(examples, lines.join(''));
  const adapter = join(dir, 'adapter');
  const { coefficients, totalMs, blend } = await blendPool({
    pool,
    examples,
    model,
    out: adapter,
    estimator: 'similarity',
    combine: 'cat',
    dtype: 'F32',
    long: 'truncate',
    force: true,
  });
  return { examples, adapter, blend: { ms: totalMs, bytes: blend.bytes, coefficients } };
}

export interface LiveCellOptions {
  user: PlayedUser;
  strategy: string;
  table: Cell['table'];
  options?: Cell['options'];
  answered: EndpointAnswers;
  /** null for the base model or the server */
  blend: UserFiles['blend'] | null;
  prices: BenchLive['prices'];
}

export function liveCellKey(user: Pick<PlannedUser, 'id'>, strategy: string, options: Cell['options'] = {}): string {
  const parts = Object.entries(options).map(([name, value]) => `--${name}=${value}`);
  return `${user.id}--${strategy}${parts.join('')}`.replaceAll(/[^A-Za-z0-9._=+-]/g, '_');
}

export function liveCell({ user, strategy, table, options = {}, answered, blend, prices }: LiveCellOptions): Cell {
  const { records, answers } = answered;
  const hits = records.map(({ correct }) => correct);
  const remote = records.map(({ source }) => source === 'in_cloud');
  return {
    key: liveCellKey(user, strategy, options),
    user: user.info,
    strategy,
    table,
    options,
    seed: user.seed,
    method: 'generation',
    examples: records.length,
    accuracy: mean(hits),
    accuracyStderr: hits.length > 1 ? standardError(hits) : 0,
    accuracyNorm: null,
    loss: null,
    customisationMs: blend?.ms ?? 0,
    bytesToServer: user.test.reduce((sum, { prompt }, i) => sum + (remote[i] ? Buffer.byteLength(prompt) : 0), 0),
    adapterBytes: blend?.bytes ?? 0,
    // stored as float32; the file's header is less than a parameter in a thousand
    adapterParameters: Math.floor((blend?.bytes ?? 0) / 4),
    serverShare: mean(remote.map(Number)),
    costPer1000: prices === null ? null : costPer1000(answers, remote, prices),
    latencyMs: summariseLatency(records.map(({ latencyMs }) => latencyMs)),
    ...(blend === null ? {} : { coefficients: blend.coefficients }),
  };
}

/** null where the server does not count its tokens. */
function costPer1000(
  answers: ReadonlyArray<TimedAnswer | null>,
  remote: readonly boolean[],
  { input_per_million: input, output_per_million: output }: NonNullable<BenchLive['prices']>,
): number | null {
  let money = 0;
  for (const [i, answer] of answers.entries()) {
    if (answer === null || !remote[i]) continue;
    if (answer.usage === null) return null;
    money += (answer.usage.promptTokens * input + answer.usage.completionTokens * output) / 1e6;
  }
  return (1000 * money) / answers.length;
}
