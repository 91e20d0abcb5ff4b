/**
 * The live part of a bench run: one server LLM for all users, each user through its own device, cells saved as they come; and
 * what it was worth.
 *
 * That is the part of the gap between device and server that the hybrid recovered, and what it gained over sending as many
 * queries at random, which is known from the device's and the server's own answers to the same test.
 */

import { join } from 'node:path';
import { bootstrap, meanAt } from '../../core/stats.js';
import { ensureDirectory } from '../../files/atomic.js';
import { embeddingKind } from '../../pool/embed/kinds.js';
import { openPool } from '../../pool/pool.js';
import type { CalibrationRecord } from '../../routing/calibrate/data.js';
import type { Thresholds } from '../../routing/signals/index.js';
import { type BenchRunDirectory, cellKey } from '../run-directory.js';
import { type BenchConfig, findBenchPath } from '../settings.js';
import type { AnswerRecord } from '../types.js';
import type { PlannedUser, UserWithExamples } from '../users.js';
import type { LiveContext, LiveUpstream } from './device.js';
import { hybridName, liveUsers, planLiveCells } from './plan.js';
import { withServer } from './process.js';
import { LiveRun, liveUser, thresholdsFor } from './user.js';

export interface LiveRunOptions extends Omit<LiveContext, 'base' | 'scopePool' | 'upstream' | 'cacheDir'> {
  users: readonly UserWithExamples[];
}

/**
 * Makes the cells that are missing.
 *
 * @returns sentences that a reader should see
 * @throws CrayonError what the parts throw; `interrupted`
 */
export async function runLive(options: LiveRunOptions): Promise<string[]> {
  const { config, directory } = options;
  const live = config.live!;
  const users = liveUsers(config, options.users).map((user) => {
    return { user, missing: planLiveCells(user, live).filter(({ key }) => !directory.hasCell(key)) };
  });
  if (users.every(({ missing }) => missing.length === 0)) return [];
  return withUpstream(options, async (context) => {
    const runs = users.map(({ user, missing }) => {
      return new LiveRun(liveUser(user, live.calibration_examples), context, missing);
    });
    const findPooled = async () => {
      const records: CalibrationRecord[] = [];
      for (const run of runs) records.push(...(await run.records()));
      return thresholdsFor(records, config);
    };
    let pooled: Promise<Thresholds> | undefined;
    for (const run of runs) await run.play(() => (pooled ??= findPooled()));
    return runs.flatMap(({ notices }) => notices);
  });
}

/** Runs `work` with a server LLM: the configuration's endpoint, or the larger model served by crayon. */
export async function withUpstream<T>(
  { users: _, ...shared }: LiveRunOptions,
  work: (context: LiveContext) => Promise<T>,
): Promise<T> {
  const { config, directory, pool, command, env, signal } = shared;
  const cacheDir = join(directory.work, 'live');
  ensureDirectory(cacheDir);
  const { kind } = openPool(pool).manifest.embedding;
  const scopePool = embeddingKind(kind).kind.needs === 'forward pass' ? undefined : pool;
  const before = (upstream: LiveUpstream) =>
    work({ ...shared, base: findBenchPath(config.model), scopePool, upstream, cacheDir });
  const endpoint = config.live?.endpoint;
  if (endpoint) return before(endpoint);
  const model = findBenchPath(config.server!.model);
  return withServer(
    { command, dir: cacheDir, name: 'server', signal, env, config: { model, cache_dir: cacheDir } },
    ({ baseUrl, model }) => before({ base_url: baseUrl, model, api_key_env: null }),
  );
}

/** Answers of the device, the server and the router to the same examples, in the same order. */
export type LiveTriple = Record<'edge' | 'server' | 'hybrid', readonly AnswerRecord[]>;

export type LiveSummary = NonNullable<ReturnType<typeof liveSummary>>;

/** Every query counts alike. @returns null without queries */
export function liveSummary(triples: readonly LiveTriple[], seed: number, resamples = 2000) {
  const answers = (side: keyof LiveTriple) => triples.flatMap((triple) => triple[side]);
  const right = (side: keyof LiveTriple) => answers(side).map(({ correct }) => correct);
  const isRight = { edge: right('edge'), server: right('server'), hybrid: right('hybrid') };
  const isSent = answers('hybrid').map(({ source }) => Number(source === 'in_cloud'));
  const examples = isSent.length;
  if (examples === 0) return null;

  /** Of the queries at these places. */
  type Statistic = (at: ArrayLike<number>) => number;
  const edge: Statistic = (at) => meanAt(isRight.edge, at);
  const server: Statistic = (at) => meanAt(isRight.server, at);
  const hybrid: Statistic = (at) => meanAt(isRight.hybrid, at);
  const share: Statistic = (at) => meanAt(isSent, at);
  const random: Statistic = (at) => (1 - share(at)) * edge(at) + share(at) * server(at);
  const gap: Statistic = (at) => server(at) - edge(at);
  // a draw without a gap says nothing
  const recovered: Statistic = (at) => (gap(at) > 0 ? (hybrid(at) - edge(at)) / gap(at) : Number.NaN);
  const interval = (value: Statistic) => bootstrap(examples, value, { seed, resamples, level: 0.95 });

  const all = isSent.map((_, i) => i);
  const bettered = all.filter((i) => isRight.server[i]! > isRight.edge[i]!).length;
  const found = { hybrid: interval(hybrid), random: interval(random) };
  return {
    users: triples.length,
    examples,
    share: interval(share),
    edge: interval(edge),
    server: interval(server),
    /** `random`: random routing at the hybrid's share */
    ...found,
    /** hybrid less random, paired by example */
    overRandom: interval((at) => hybrid(at) - random(at)),
    /** (hybrid - edge) / (server - edge); null where the server is no better */
    recovered: gap(all) > 0 ? interval(recovered) : null,
    /** what an oracle would have recovered at the same share: no router can do more. null as `recovered`. */
    ceiling: gap(all) > 0 ? Math.min(share(all), bettered / examples) / gap(all) : null,
    /** whether the two intervals, hybrid's and random's, do not meet */
    apart: found.hybrid.low > found.random.high,
  };
}

/** Over all live users whose three cells are there, for each kind of thresholds. */
export function summariseLive(
  config: BenchConfig,
  directory: BenchRunDirectory,
  users: readonly PlannedUser[],
): Record<string, LiveSummary> {
  const summaries: Record<string, LiveSummary> = {};
  for (const kind of config.live?.thresholds ?? []) {
    const name = hybridName(config.live!.share, kind);
    const triples = liveUsers(config, users).flatMap(({ id }): LiveTriple[] => {
      const keys = ['edge-live', 'server-live', name].map((strategy) => cellKey(id, strategy));
      if (!keys.every((key) => directory.hasCell(key))) return [];
      const [edge, server, hybrid] = keys.map((key) => directory.readAnswers(key));
      return [{ edge: edge!, server: server!, hybrid: hybrid! }];
    });
    const summary = liveSummary(triples, config.seed);
    if (summary !== null) summaries[name] = summary;
  }
  return summaries;
}
