/**
 * The live part of a bench run: one server LLM for all users, each user through its own device, cells saved as they come; and
 * what it was worth.
 *
 * That is the part of the gap between device and server that the hybrid recovered, and what it gained over sending as many
 * queries at random, which is known from the device's and the server's own answers to the same test.
 */

import { join } from 'node:path';
import { bootstrap, type Interval } from '../../core/stats.js';
import { ensureDirectory } from '../../files/atomic.js';
import { embeddingKind } from '../../pool/embed/kinds.js';
import { openPool } from '../../pool/pool.js';
import type { Thresholds } from '../../routing/types.js';
import { type BenchRunDirectory, cellKey } from '../run-directory.js';
import { type BenchConfig, findBenchPath } from '../settings.js';
import type { AnswerRecord } from '../types.js';
import type { BenchTask, PlannedUser, UserWithExamples } from '../users.js';
import type { LiveContext, LiveUpstream } from './edge.js';
import { hybridName, liveUsers, planLiveCells } from './plan.js';
import { startServer } from './process.js';
import { LiveRun, liveUser, thresholdsFor } from './user.js';

/** @param pool where the pool of the configuration is */
export interface LiveRunOptions
  extends Pick<LiveContext, 'config' | 'command' | 'env' | 'signal' | 'onProgress' | 'pool'> {
  directory: BenchRunDirectory;
  users: ReadonlyArray<{ user: UserWithExamples; tasks: readonly BenchTask[] }>;
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
  const players = options.users
    .filter(({ user }) => liveUsers(config, [user]).length > 0)
    .map(({ user, tasks }) => {
      const wanted = planLiveCells(user, live).filter(({ key }) => !directory.hasCell(key));
      return { user, tasks, wanted };
    });
  const notices: string[] = [];
  if (players.every(({ wanted }) => wanted.length === 0)) return notices;
  await withUpstream(options, async (context) => {
    const runs = players.map(({ user, tasks, wanted }) => {
      const run = new LiveRun(liveUser(user, tasks, live.calibration_examples), context, wanted, (cell, records) =>
        directory.writeCell(cell, records),
      );
      return { run, wanted };
    });
    let pooled: Thresholds | undefined;
    const thresholds = async () => {
      if (pooled !== undefined) return pooled;
      const records = [];
      for (const { run } of runs) records.push(...(await run.records()));
      pooled = thresholdsFor(records, config);
      return pooled;
    };
    for (const { run, wanted } of runs) {
      if (wanted.length > 0) await run.play(thresholds);
      notices.push(...run.notices);
    }
  });
  return notices;
}

/** Over all live users whose three cells are there, for each kind of thresholds. */
export function summariseLive(
  config: BenchConfig,
  directory: BenchRunDirectory,
  users: readonly PlannedUser[],
): Record<string, LiveSummary> {
  const { share, thresholds } = config.live ?? { share: 0, thresholds: [] };
  const summaries: Record<string, LiveSummary> = {};
  for (const name of thresholds.map((kind) => hybridName(share, kind))) {
    const triples = liveUsers(config, users).flatMap((user): LiveTriple[] => {
      const keys = ['edge-live', 'server-live', name].map((strategy) => cellKey(user.id, strategy));
      if (!keys.every((key) => directory.hasCell(key))) return [];
      const [edge, server, hybrid] = keys.map((key) => directory.readAnswers(key)) as [
        AnswerRecord[],
        AnswerRecord[],
        AnswerRecord[],
      ];
      return [{ user: user.id, edge, server, hybrid }];
    });
    const summary = liveSummary(triples, config.seed);
    if (summary !== null) summaries[name] = summary;
  }
  return summaries;
}

/** Runs `work` with a server LLM: the configuration's endpoint, or the larger model served by crayon. */
export async function withUpstream<T>(
  { directory, users: _, ...shared }: LiveRunOptions,
  work: (context: LiveContext) => Promise<T>,
): Promise<T> {
  const { config, pool, command, env, signal } = shared;
  const cacheDir = join(directory.work, 'live');
  ensureDirectory(cacheDir);
  const { kind } = openPool(pool).manifest.embedding;
  const scopePool = embeddingKind(kind).kind.needs === 'forward pass' ? null : pool;
  const withServer = (upstream: LiveUpstream) =>
    work({ ...shared, base: findBenchPath(config.model), scopePool, upstream, cacheDir });
  const endpoint = config.live?.endpoint;
  if (endpoint) {
    const { base_url: baseUrl, model, api_key_env: apiKeyEnv } = endpoint;
    return withServer({ baseUrl, model, apiKeyEnv });
  }
  const server = await startServer({
    command,
    dir: cacheDir,
    name: 'server',
    signal,
    env,
    config: { model: findBenchPath(config.server!.model), cache_dir: cacheDir },
  });
  try {
    return await withServer({ baseUrl: server.baseUrl, model: server.model, apiKeyEnv: null });
  } catch (error) {
    throw server.failed.aborted ? server.failed.reason : error;
  } finally {
    await server.stop();
  }
}

/** Answers of the device, the server and the router to the same examples, in the same order. */
export interface LiveTriple {
  user: string;
  edge: readonly AnswerRecord[];
  server: readonly AnswerRecord[];
  hybrid: readonly AnswerRecord[];
}

export interface LiveSummary {
  users: number;
  examples: number;
  share: Interval;
  edge: Interval;
  server: Interval;
  hybrid: Interval;
  /** random routing at the hybrid's share */
  random: Interval;
  /** hybrid less random, paired by example */
  overRandom: Interval;
  /** (hybrid - edge) / (server - edge); null where the server is no better */
  recovered: Interval | null;
  /** what an oracle would have recovered at the same share: no router can do more. null as `recovered`. */
  ceiling: number | null;
  /** whether the two intervals, hybrid's and random's, do not meet */
  apart: boolean;
}

/** Every query counts alike. @returns null without queries */
export function liveSummary(triples: readonly LiveTriple[], seed: number, resamples = 2000): LiveSummary | null {
  const rows = triples.flatMap(({ edge, server, hybrid }) =>
    hybrid.map((record, i) => ({
      edge: edge[i]!.correct,
      server: server[i]!.correct,
      hybrid: record.correct,
      remote: record.source === 'in_cloud' ? 1 : 0,
    })),
  );
  if (rows.length === 0) return null;
  const options = { seed, resamples, level: 0.95 };
  const mean = (at: ArrayLike<number>, of: keyof (typeof rows)[number]) => {
    let sum = 0;
    for (let i = 0; i < at.length; i++) sum += rows[at[i]!]![of];
    return sum / at.length;
  };
  const interval = (value: (at: ArrayLike<number>) => number) => bootstrap(rows.length, value, options);
  const random = (at: ArrayLike<number>) => {
    const share = mean(at, 'remote');
    return (1 - share) * mean(at, 'edge') + share * mean(at, 'server');
  };
  const all = rows.map((_, i) => i);
  const gap = mean(all, 'server') - mean(all, 'edge');
  const hybrid = interval((at) => mean(at, 'hybrid'));
  const chance = interval(random);
  return {
    users: triples.length,
    examples: rows.length,
    share: interval((at) => mean(at, 'remote')),
    edge: interval((at) => mean(at, 'edge')),
    server: interval((at) => mean(at, 'server')),
    hybrid,
    random: chance,
    overRandom: interval((at) => mean(at, 'hybrid') - random(at)),
    recovered:
      gap <= 0
        ? null
        : interval((at) => {
            const drawnGap = mean(at, 'server') - mean(at, 'edge');
            return drawnGap > 0 ? (mean(at, 'hybrid') - mean(at, 'edge')) / drawnGap : Number.NaN; // a draw without a gap says nothing
          }),
    ceiling:
      gap <= 0
        ? null
        : Math.min(mean(all, 'remote'), rows.filter((row) => row.server > row.edge).length / rows.length) / gap,
    apart: hybrid.low > chance.high,
  };
}
