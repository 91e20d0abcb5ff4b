/** The work and the words of `crayon bench`; loaded only when it runs, because it loads tfjs. */

import { execFileSync } from 'node:child_process';
import { cpus, totalmem } from 'node:os';
import { givenPoolProblem, loadBenchConfig, SHARED_POOL } from '../../bench/config.js';
import { type ConditionFlags, withConditions } from '../../bench/live/device.js';
import { planRun } from '../../bench/plan.js';
import { type BenchResult, runBench } from '../../bench/run.js';
import { BenchRunDirectory } from '../../bench/run-directory.js';
import { sharesPool } from '../../bench/seeds.js';
import type { BenchConfig } from '../../bench/settings.js';
import type { Cell } from '../../bench/types.js';
import { CrayonError } from '../../core/errors.js';
import { formatDuration } from '../../core/format.js';
import { groupBy, mean } from '../../core/stats.js';
import { chooseBackend, releaseBackend } from '../../model/backend.js';
import { isPoolUrl } from '../../remote/url.js';
import type { BackendFlag, PoolFlags } from '../options.js';
import { placeOf } from '../pool-place.js';
import { stopSignal } from '../stop-signal.js';
import type { Terminal } from '../terminal.js';
import { showLive, showLoad } from './tables.js';

/** Networks and devices override those of the sections live and load. */
export interface BenchFlags extends ConditionFlags, BackendFlag, PoolFlags {
  config: string;
  out: string;
  model?: string;
  pool?: string;
  dataDir?: string;
  work?: string;
  fresh: boolean;
  dryRun: boolean;
}

export async function runBenchCommand(flags: BenchFlags, terminal: Terminal): Promise<void> {
  const placed = withPlaces(loadBenchConfig(flags.config), flags);
  const config = withConditions(await withFetchedPool(placed, flags, terminal), flags);
  if (flags.dryRun) return showPlan(config, terminal);
  const started = performance.now();
  const backend = await chooseBackend(flags.backend);
  terminal.note(`Back end: ${backend.name} (${backend.detail})`);
  const directory = new BenchRunDirectory(flags.out, flags);
  const stop = stopSignal();
  try {
    const result = await terminal.during(({ update }) =>
      runBench({
        config,
        directory,
        machine: machineLine(backend.name),
        commit: commitOf(),
        command: [process.execPath, ...process.execArgv, process.argv[1]!],
        env: terminal.streams.env,
        now: () => new Date().toISOString(),
        onProgress: ({ stage, done, total, note }) => update(stage, done, total, note),
        signal: stop.signal,
      }),
    );
    show(result, flags.out, performance.now() - started, terminal);
  } finally {
    directory.release();
    stop.release();
    releaseBackend();
  }
}

/**
 * Where base, pool and data are on this machine: what a configuration that travels cannot know.
 *
 * @throws CrayonError `bad-option`
 */
function withPlaces(config: BenchConfig, { model, pool, dataDir }: BenchFlags): BenchConfig {
  const placed = {
    ...config,
    ...(model === undefined ? {} : { model }),
    ...(dataDir === undefined ? {} : { data_dir: dataDir }),
    ...(pool === undefined ? {} : { pool: { ...config.pool, dir: pool } }),
  };
  if (sharesPool(placed)) throw new CrayonError('bad-option', `--pool ${pool} ${SHARED_POOL}`);
  const problem = givenPoolProblem(placed);
  if (problem !== undefined) throw new CrayonError('bad-option', `--pool ${pool}: ${problem.message}`);
  return placed;
}

/** A pool by address as the directory that it is fetched to: strategies use all of its adapters. */
async function withFetchedPool(config: BenchConfig, flags: BenchFlags, terminal: Terminal): Promise<BenchConfig> {
  const { dir } = config.pool;
  if (dir === undefined || !isPoolUrl(dir)) return config;
  if (dir.includes('{seed}')) {
    throw new CrayonError('bad-option', `${dir}: pools of several seeds are not fetched`, {
      hint: 'Fetch one for each seed, by wget for example, and give the path with {seed}.',
    });
  }
  const place = await placeOf(dir, flags, terminal.streams.env);
  await place.members();
  return { ...config, pool: { ...config.pool, dir: place.dir } };
}

function machineLine(backend: string): string {
  const [first] = cpus();
  const memory = Math.round(totalmem() / 2 ** 30);
  return `${first?.model.trim()}, ${cpus().length} threads, ${memory} GiB, Node ${process.version}, back end ${backend}`;
}

/** Of the working tree that the command runs in, when it is crayon's or any other. */
function commitOf(): string | null {
  const git = (...args: string[]) =>
    execFileSync('git', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'], timeout: 5000 }).trim();
  try {
    const dirty = git('status', '--porcelain', '--untracked-files=no') !== '';
    return git('rev-parse', '--short', 'HEAD') + (dirty ? '-dirty' : '');
  } catch {
    return null; // no git, or no working tree
  }
}

function showPlan(config: BenchConfig, terminal: Terminal): void {
  const { seeds, cells, live, load } = planRun(config);
  const { users } = seeds[0]!; // the others have the same
  const [keys, liveKeys, loadKeys] = [cells, live, load].map((planned) => planned.map(({ key }) => key));
  terminal.document({ users: users.map(({ info }) => info), cells: keys, live: liveKeys, load: loadKeys });
  const over = seeds.length > 1 ? ` over ${seeds.length} seeds` : '';
  terminal.print(`${users.length} users${over}, ${cells.length} cells of at most ${config.test_examples} answers:`);
  terminal.table(
    ['user', 'kind', 'examples', 'cells'],
    [...groupBy(cells, ({ user }) => user.id)].map(([id, ofUser]) => {
      const { kind, k } = ofUser[0]!.user.info;
      return [id, kind, String(k), String(ofUser.length)];
    }),
    ['left', 'left', 'right', 'right'],
  );
  if (live.length + load.length > 0) {
    terminal.print(`And on running servers: ${live.length} cells of the router, ${load.length} of load.`);
  }
}

/** The strategies' mean over the users; `bench report` has the rest. */
function show(
  { manifest, cells, live, load, reused, notices }: BenchResult,
  out: string,
  ms: number,
  terminal: Terminal,
): void {
  terminal.document({ out, reused, notices, manifest, cells, live, load });
  for (const notice of notices) terminal.note(notice);
  const cut = cells.filter(({ cutPrompts = 0 }) => cutPrompts > 0);
  if (cut.length > 0) {
    terminal.note(
      `${cut.length} of ${cells.length} cells have prompts that exceed the context and lost their front (cutPrompts).`,
    );
  }
  const main = cells.filter((cell) => cell.table === 'strategies');
  terminal.table(
    ['strategy', 'accuracy', 'loss', 'customisation', 'answer'],
    [...groupBy(main, (cell) => cell.strategy)].map(([strategy, ofStrategy]) => [
      strategy,
      `${(100 * meanOverUsers(ofStrategy, (cell) => cell.accuracy)).toFixed(1)} %`,
      meanOverUsers(ofStrategy, (cell) => cell.loss ?? Number.NaN).toFixed(3),
      formatDuration(meanOverUsers(ofStrategy, (cell) => cell.customisationMs)),
      formatDuration(meanOverUsers(ofStrategy, (cell) => cell.latencyMs.p50)),
    ]),
    ['left', 'right', 'right', 'right', 'right'],
  );
  for (const [name, summary] of Object.entries(live)) showLive(name, summary, terminal);
  showLoad(load, terminal);
  terminal.print(`\n${manifest.machine}; ${formatDuration(ms)}${reused > 0 ? `, ${reused} cells from before` : ''}.`);
  terminal.print(`Next: crayon bench report ${out}`);
}

/** Every user counts alike, however many seeds it has. */
function meanOverUsers(cells: readonly Cell[], value: (cell: Cell) => number): number {
  const byUser = groupBy(cells, ({ user }) => `${user.name}, ${user.k}`);
  return mean([...byUser.values()].map((ofUser) => mean(ofUser.map(value))));
}
