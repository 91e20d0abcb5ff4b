/** The work and the words of `crayon bench`; loaded only when it runs, because it loads tfjs. */

import { execFileSync } from 'node:child_process';
import { cpus, totalmem } from 'node:os';
import { type PlannedCell, planCells } from '../../bench/cells.js';
import { type BenchConfig, loadBenchConfig } from '../../bench/config.js';
import { plannedLiveCells } from '../../bench/live/cells.js';
import { withConditions } from '../../bench/live/conditions.js';
import { liveUsers } from '../../bench/live/run.js';
import { plannedLoad } from '../../bench/load/run.js';
import { type BenchResult, runBench } from '../../bench/run.js';
import { BenchRunDirectory } from '../../bench/run-directory.js';
import type { Cell } from '../../bench/types.js';
import { planUsers } from '../../bench/users.js';
import { formatDuration } from '../../core/format.js';
import { mean } from '../../core/stats.js';
import { chooseBackend, releaseBackend } from '../../model/backend.js';
import type { BackendName } from '../../model/backend-names.js';
import { stopSignal } from '../stop-signal.js';
import type { Terminal } from '../terminal.js';
import { showLive, showLoad } from './live-tables.js';

export interface BenchFlags {
  config: string;
  out: string;
  work?: string;
  fresh: boolean;
  dryRun: boolean;
  backend: BackendName | 'auto';
  /** override those of the sections live and load */
  network?: string[];
  device?: string[];
  conditions?: boolean;
}

export async function runBenchCommand(flags: BenchFlags, terminal: Terminal): Promise<void> {
  const config = withConditions(loadBenchConfig(flags.config), flags);
  if (flags.dryRun) {
    showPlan(config, terminal);
    return;
  }
  const started = performance.now();
  const backend = await chooseBackend(flags.backend);
  terminal.note(`Back end: ${backend.name} (${backend.detail})`);
  const progress = terminal.progress();
  const { fresh, work } = flags;
  const directory = new BenchRunDirectory(flags.out, { fresh, work });
  const stop = stopSignal();
  try {
    const result = await runBench({
      config,
      directory,
      machine: machineLine(backend.name),
      commit: commitOf(),
      command: [process.execPath, ...process.execArgv, process.argv[1]!],
      env: terminal.streams.env,
      now: () => new Date().toISOString(),
      onProgress: ({ stage, done, total, note }) => progress.update(stage, done, total, note),
      signal: stop.signal,
    });
    progress.end();
    show(result, flags.out, performance.now() - started, terminal);
  } catch (error) {
    progress.end(true);
    throw error;
  } finally {
    directory.release();
    stop.release();
    releaseBackend();
  }
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
  const users = planUsers(config);
  const cells = planCells(config, users);
  const live = liveUsers(config, users).flatMap((user) => plannedLiveCells(user, config.live!));
  const load = (config.load === undefined ? [] : plannedLoad(config.load)).map(({ key }) => key);
  terminal.document({ users: users.map(({ info }) => info), cells: cells.map(({ key }) => key), live, load });
  terminal.print(`${users.length} users, ${cells.length} cells of at most ${config.test_examples} answers:`);
  const byUser = new Map<string, PlannedCell[]>();
  for (const cell of cells) byUser.set(cell.user.id, [...(byUser.get(cell.user.id) ?? []), cell]);
  terminal.table(
    ['user', 'kind', 'examples', 'cells'],
    [...byUser.values()].map((own) => {
      const { info, id } = own[0]!.user;
      return [id, info.kind, String(info.k), String(own.length)];
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
  const main = cells.filter((cell) => cell.table === 'strategies');
  const strategies = [...new Set(main.map((cell) => cell.strategy))];
  terminal.table(
    ['strategy', 'accuracy', 'loss', 'customisation', 'answer'],
    strategies.map((strategy) => {
      const own = main.filter((cell) => cell.strategy === strategy);
      return [
        strategy,
        `${(100 * meanOverUsers(own, (cell) => cell.accuracy)).toFixed(1)} %`,
        meanOverUsers(own, (cell) => cell.loss ?? Number.NaN).toFixed(3),
        formatDuration(meanOverUsers(own, (cell) => cell.customisationMs)),
        formatDuration(meanOverUsers(own, (cell) => cell.latencyMs.p50)),
      ];
    }),
    ['left', 'right', 'right', 'right', 'right'],
  );
  for (const [name, summary] of Object.entries(live)) showLive(name, summary, terminal);
  showLoad(load, terminal);
  terminal.print(`\n${manifest.machine}; ${formatDuration(ms)}${reused > 0 ? `, ${reused} cells from before` : ''}.`);
  terminal.print(`Next: crayon bench report ${out}`);
}

/** Every user counts alike, however many seeds it has. */
function meanOverUsers(cells: readonly Cell[], value: (cell: Cell) => number): number {
  const byUser = new Map<string, number[]>();
  for (const cell of cells) {
    const user = `${cell.user.name}, ${cell.user.k}`;
    byUser.set(user, [...(byUser.get(user) ?? []), value(cell)]);
  }
  return mean([...byUser.values()].map(mean));
}
