/** The live part of a bench run: one server LLM for all users, each user through its own device, cells saved as they come. */

import { join } from 'node:path';
import { ensureDirectory } from '../../files/atomic.js';
import { embeddingKind } from '../../pool/embed/kinds.js';
import { openPool } from '../../pool/pool.js';
import type { Thresholds } from '../../routing/types.js';
import { findBenchPath } from '../paths.js';
import { type BenchRunDirectory, cellKey } from '../run-directory.js';
import type { BenchConfig } from '../settings.js';
import type { BenchTask } from '../tasks.js';
import type { AnswerRecord } from '../types.js';
import type { PlannedUser, UserWithExamples } from '../users.js';
import type { LiveContext, LiveUpstream } from './edge.js';
import { hybridName, liveUsers, planLiveCells } from './plan.js';
import { startServer } from './process.js';
import { type LiveSummary, type LiveTriple, liveSummary } from './summary.js';
import { liveUser } from './user.js';
import { LiveRun, thresholdsFor } from './user-run.js';

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
