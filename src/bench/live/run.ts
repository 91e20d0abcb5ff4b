/** The live part of a bench run: one server LLM for all users, each user through its own edge server, cells saved as they come. */

import { join } from 'node:path';
import { CrayonError } from '../../core/errors.js';
import { ensureDirectory } from '../../files/atomic.js';
import { openPool } from '../../pool/pool.js';
import type { CalibrationRecord } from '../../routing/calibrate/data.js';
import type { Thresholds } from '../../routing/types.js';
import { type BenchConfig, findBenchPath } from '../config.js';
import { readAnswerLines } from '../report/run-files.js';
import type { BenchRunDirectory } from '../run-directory.js';
import type { BenchTask } from '../tasks.js';
import type { AnswerRecord } from '../types.js';
import type { PlannedUser, PlayedUser } from '../users.js';
import { hybridName, type LiveContext, LiveRun, plannedLiveCells, thresholdsFor } from './cells.js';
import type { LiveUpstream } from './edge.js';
import { startServer } from './process.js';
import { type LiveSummary, type LiveTriple, liveSummary } from './summary.js';
import { liveCellKey, liveUser } from './user.js';

export interface LiveRunOptions {
  config: BenchConfig;
  directory: BenchRunDirectory;
  users: ReadonlyArray<{ user: PlayedUser; tasks: readonly BenchTask[] }>;
  /** where the pool of the configuration is */
  pool: string;
  /** what starts crayon: program and first arguments */
  command: readonly string[];
  env?: NodeJS.ProcessEnv | undefined;
  signal?: AbortSignal | undefined;
  onProgress?: LiveContext['onProgress'];
}

export interface LiveRunResult {
  /** keys of the cells that are there now */
  keys: string[];
  reused: number;
  notices: string[];
}

/** Users whose test goes through the router. */
export function liveUsers<T extends { info: PlannedUser['info'] }>(config: BenchConfig, users: readonly T[]): T[] {
  const wanted = config.live?.users ?? null;
  if (config.live === undefined) return [];
  return wanted === null ? [...users] : users.filter(({ info }) => wanted.includes(info.name));
}

/** @throws CrayonError what the parts throw; `interrupted` */
export async function runLive(options: LiveRunOptions): Promise<LiveRunResult> {
  const { config, directory, pool } = options;
  const live = config.live!;
  const players = options.users.filter(({ user }) => liveUsers(config, [user]).length > 0);
  const planned = players.flatMap(({ user }) => plannedLiveCells(user, live));
  const missing = planned.filter((key) => !directory.hasCell(key));
  const notices: string[] = [];
  if (missing.length > 0) {
    await withUpstream(options, async (upstream, dir) => {
      const runs = players.map(({ user, tasks }) => {
        const own = join(dir, user.id);
        ensureDirectory(own);
        const wanted = plannedLiveCells(user, live).filter((key) => !directory.hasCell(key));
        const context = contextOf(options, upstream, { dir: own, cacheDir: dir, pool });
        const run = new LiveRun(
          liveUser(user, tasks, live.calibration_examples),
          context,
          wanted,
          ({ cell, records }) => directory.writeCell(cell.key, cell, records),
        );
        return { run, wanted };
      });
      let pooled: Thresholds | undefined;
      const thresholds = async () => {
        if (pooled !== undefined) return pooled;
        const records: CalibrationRecord[] = [];
        for (const { run } of runs) records.push(...(await run.records()));
        pooled = thresholdsFor(records, { live, seed: config.seed });
        return pooled;
      };
      for (const { run, wanted } of runs) {
        if (wanted.length > 0) await run.play(thresholds);
        notices.push(...run.notices);
      }
    });
  }
  const keys = planned.filter((key) => directory.hasCell(key));
  return { keys, reused: planned.length - missing.length, notices };
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
      const keys = ['edge-live', 'server-live', name].map((strategy) => liveCellKey(user, strategy));
      if (!keys.every((key) => directory.hasCell(key))) return [];
      const [edge, server, hybrid] = keys.map((key) =>
        readAnswerLines(directory.path, key).records.map(({ value }) => value as unknown as AnswerRecord),
      ) as [AnswerRecord[], AnswerRecord[], AnswerRecord[]];
      return [{ user: user.id, edge, server, hybrid }];
    });
    const summary = liveSummary(triples, config.seed);
    if (summary !== null) summaries[name] = summary;
  }
  return summaries;
}

/**
 * Runs `work` with a server LLM: the configuration's endpoint, or the larger model served by crayon.
 *
 * @param work also gets a directory for the servers' files, which is kept: exported models are used again
 */
export async function withUpstream<T>(
  { config, directory, command, env, signal }: Omit<LiveRunOptions, 'users' | 'pool'>,
  work: (upstream: LiveUpstream, dir: string) => Promise<T>,
): Promise<T> {
  const dir = join(directory.work, 'live');
  ensureDirectory(dir);
  const endpoint = config.live?.endpoint ?? null;
  if (endpoint !== null) {
    return work({ baseUrl: endpoint.base_url, model: endpoint.model, apiKeyEnv: endpoint.api_key_env }, dir);
  }
  const server = await startServer({
    command,
    dir,
    name: 'server',
    signal,
    ...(env === undefined ? {} : { env }),
    config: { model: findBenchPath(config.server!.model), cache_dir: dir },
  });
  try {
    return await work({ baseUrl: server.baseUrl, model: server.model, apiKeyEnv: null }, dir);
  } catch (error) {
    throw server.failed.aborted ? server.failed.reason : error;
  } finally {
    await server.stop();
  }
}

export function contextOf(
  { config, command, env, signal, onProgress }: Omit<LiveRunOptions, 'users' | 'pool' | 'directory'>,
  upstream: LiveUpstream,
  { dir, cacheDir, pool }: { dir: string; cacheDir: string; pool: string },
): LiveContext {
  if (config.live === undefined) throw new CrayonError('config-invalid', 'the configuration has no section live');
  const { kind } = openPool(pool).manifest.embedding;
  return {
    live: config.live,
    devices: config.devices ?? {},
    command,
    pool,
    upstream,
    dir,
    cacheDir,
    base: findBenchPath(config.model),
    poolScope: kind === 'tfidf' || kind === 'first-attention',
    maxTokens: config.max_tokens,
    seed: config.seed,
    signal: signal ?? new AbortController().signal,
    ...(env === undefined ? {} : { env }),
    ...(onProgress === undefined ? {} : { onProgress }),
  };
}
