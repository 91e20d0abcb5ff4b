/**
 * A bench run: every user, every way of customising the model for it, on the same test examples. Each cell is saved when
 * it is done; a run that was stopped goes on with the cells that are missing, and ends with the same numbers.
 */

import { CrayonError, isCrayonError } from '../core/errors.js';
import { formatDuration } from '../core/format.js';
import type { Progress } from '../core/long-work.js';
import { CRAYON_VERSION } from '../files/package.js';
import { refuseOtherRun } from '../files/resume.js';
import { HfModel } from '../hf/model.js';
import { loadTokenizer } from '../hf/tokenizer.js';
import { LlamaModel } from '../model/llama.js';
import { openPool } from '../pool/pool.js';
import { type AnswerSettings, answerExamples, type LoadedModel, timeAnswers } from './answers.js';
import { cellOf } from './cell.js';
import { planRun } from './cells.js';
import { type LiveRunOptions, type LiveSummary, runLive, summariseLive } from './live/run.js';
import { runLoadPart } from './load/run.js';
import { mapOfTrainingSet, type ScopeSpace, scopeSpace } from './pool-space.js';
import { PoolStore } from './pools.js';
import type { BenchRunDirectory } from './run-directory.js';
import { type BenchConfig, findBenchPath } from './settings.js';
import { strategyNamed } from './strategies/index.js';
import type { BenchContext, PlannedCell } from './strategies/strategy.js';
import type { AnswerRecord, Cell, LoadCell, RunManifest } from './types.js';
import {
  type BenchTask,
  drawExamples,
  loadBenchTask,
  type PlannedUser,
  readTrainingSet,
  type TrainingSet,
  type UserWithExamples,
} from './users.js';

export interface BenchRunOptions {
  config: BenchConfig;
  directory: BenchRunDirectory;
  /** the machine in words, and the commit: what only the command line knows */
  machine: string;
  commit: string | null;
  /** what starts crayon, for the servers of a live run: program and first arguments */
  command?: readonly string[];
  /** where the servers' keys are looked up */
  env?: NodeJS.ProcessEnv;
  /** `2026-11-22T20:00:00Z` */
  now: () => string;
  onProgress?: (progress: Progress) => void;
  signal?: AbortSignal | undefined;
}

export interface BenchResult {
  manifest: RunManifest;
  /** all cells of the run, in the order of the plan */
  cells: Cell[];
  /** what the router was worth on running servers, by its strategy's name */
  live: Record<string, LiveSummary>;
  /** load on running servers */
  load: LoadCell[];
  /** cells that were there already */
  reused: number;
  /** sentences that the user should read */
  notices: string[];
}

/** @throws CrayonError for every fault of the inputs; `checkpoint-mismatch`; `interrupted` when the signal fires */
export async function runBench(options: BenchRunOptions): Promise<BenchResult> {
  const { config, directory, signal } = options;
  const progress = options.onProgress ?? (() => {});
  // 1) read and check everything before any work
  const { users, cells, live, load } = planRun(config);
  const base = openModel(config.model);
  let server: LoadedModel | undefined;
  try {
    const training = readTrainingSet(config);
    const tasks = loadTasks(config, training, progress);
    const played = new Map(users.map((user) => [user.id, drawExamples(user, tasksOf(user, tasks), config)]));
    const pools = new PoolStore(config, training, base.source.digest(), directory.work);
    const manifest = startManifest(options, base, training, cells.length + live.length);
    const keys = () => [...cells, ...live.filter(({ key }) => directory.hasCell(key))].map(({ key }) => key);
    const missing = cells.filter((cell) => !directory.hasCell(cell.key));
    const reused = keys().filter((key) => directory.hasCell(key)).length;
    const notices = noticesOf(config, [...tasks.values()], [...played.values()]);
    const result = (): BenchResult => ({
      manifest,
      cells: keys().map((key) => directory.readCell(key)),
      live: summariseLive(config, directory, users),
      load: load.filter(({ key }) => directory.hasLoad(key)).map(({ key }) => directory.readLoad(key)),
      reused,
      notices,
    });
    if (missing.length === 0 && manifest.finished !== null) return result();
    manifest.finished = null;
    directory.writeManifest(manifest);

    // 2) pools, each once
    await buildPools(missing, config, pools, progress, signal);
    const space = await describePool(manifest, config, base, pools);
    directory.writeManifest(manifest);

    // 3) cells, a user's together
    const context: BenchContext = {
      config,
      base,
      pools,
      directory,
      signal,
      server: () => {
        server ??= openModel(config.server!.model);
        return server;
      },
    };
    const clock = new CellClock(missing.length);
    for (const user of users) {
      const ofUser = missing.filter((cell) => cell.user.id === user.id);
      const scopes = ofUser.length === 0 ? undefined : await space.percentiles(played.get(user.id)!);
      for (const [i, cell] of ofUser.entries()) {
        const report = (share: number, left = clock.left(share)) =>
          progress({
            stage: user.id,
            ...answersOf(i + share, ofUser.length, config),
            note: `${cellTitle(cell)}${left}`,
          });
        report(0);
        const result = await runCell(cell, played.get(user.id)!, context, scopes, report).catch((error: unknown) => {
          throw isCrayonError(error, 'interrupted') ? stopped(directory, clock.done, missing.length) : error;
        });
        directory.writeCell(result.cell, result.records);
        clock.tick();
        report(1, clock.left(0));
        if (signal?.aborted) throw stopped(directory, clock.done, missing.length);
      }
    }

    // 4) the router and load, on running servers
    const servers: LiveRunOptions = {
      config,
      directory,
      signal: signal ?? new AbortController().signal,
      pool: pools.path(config.pool),
      command: options.command ?? [],
      env: options.env,
      users: users.map((user) => ({ user: played.get(user.id)!, tasks: tasksOf(user, tasks) })),
      onProgress: progress,
    };
    try {
      if (config.live !== undefined) notices.push(...(await runLive(servers)));
      if (config.load !== undefined) notices.push(...(await runLoadPart(servers)));
    } catch (error) {
      // Ctrl-C reaches the servers too: that they have ended is then no failure.
      throw signal?.aborted ? stopped(directory, keys().length, cells.length + live.length) : error;
    }
    // a device that is too small leaves its cells out, and is told
    manifest.plannedCells = keys().length;
    manifest.finished = options.now();
    directory.writeManifest(manifest);
    return result();
  } finally {
    for (const loaded of [base, server]) {
      loaded?.model.dispose();
      loaded?.source.close();
    }
  }
}

/** One user, one strategy: customise, answer, measure. */
async function runCell(
  cell: PlannedCell,
  user: UserWithExamples,
  context: BenchContext,
  scopes: readonly number[] | undefined,
  report: (share: number) => void,
): Promise<{ cell: Cell; records: AnswerRecord[] }> {
  const { config, signal } = context;
  const { answerer, ms, parameters, ...costs } = await strategyNamed(cell.strategy).customise(cell, user, context);
  const settings: AnswerSettings = {
    method: user.method,
    batchSize: config.batch_size,
    maxTokens: config.max_tokens,
    signal,
    onProgress: (done, total) => report(done / total),
  };
  const { records: answered, loss } = await answerExamples(answerer, user.test, settings);
  const timed = await timeAnswers(answerer, user.test.slice(0, config.latency_examples), settings);
  const isServer = cell.strategy === 'server';
  const records = answered.map(
    (record, i): AnswerRecord => ({
      ...record,
      source: isServer ? 'in_cloud' : 'on_device',
      scope: isServer ? undefined : scopes?.[i],
    }),
  );
  const measured = cellOf({
    ...cell,
    ...costs,
    user: user.info,
    method: user.method,
    loss,
    customisationMs: ms,
    // as float32; the files' headers aside
    adapterBytes: 4 * parameters,
    adapterParameters: parameters,
    costPer1000: null,
    test: user.test,
    records,
    timed,
  });
  return { cell: measured, records };
}

function openModel(path: string): LoadedModel {
  const dir = findBenchPath(path);
  const source = HfModel.open(dir);
  return { source, model: new LlamaModel(source), tokenizer: loadTokenizer(dir) };
}

function loadTasks(
  config: BenchConfig,
  training: TrainingSet,
  progress: (progress: Progress) => void,
): Map<string, BenchTask> {
  const paths = [...new Set(config.users.flatMap((user) => user.tasks))];
  return new Map(
    paths.map((path, i) => {
      const task = loadBenchTask(path, config, training);
      progress({ stage: 'read tasks', done: i + 1, total: paths.length });
      return [path, task] as const;
    }),
  );
}

const tasksOf = ({ taskPaths }: PlannedUser, tasks: ReadonlyMap<string, BenchTask>) =>
  taskPaths.map((path) => tasks.get(path)!);

/** A new manifest, or that of the run which goes on. @throws CrayonError `checkpoint-mismatch` */
function startManifest(
  { config, directory, machine, commit, now }: BenchRunOptions,
  { source }: LoadedModel,
  training: TrainingSet,
  plannedCells: number,
): RunManifest {
  const { earlier } = directory;
  const digest = source.digest();
  // the data's digests are part of the configuration as it was used
  const used = { ...config, training: training.digests };
  if (earlier !== undefined) {
    const hint = 'Choose another --out, or give --fresh to throw its cells away.';
    const before = { ...(earlier.config as object), 'base model': earlier.base.digest };
    refuseOtherRun(directory.path, before, { ...used, 'base model': digest }, hint);
  }
  return {
    format: 'crayon-bench',
    version: 1,
    createdBy: `crayon ${CRAYON_VERSION}`,
    machine,
    commit,
    seed: config.seed,
    started: earlier?.started ?? now(),
    finished: earlier?.finished ?? null,
    config: used,
    base: { name: config.model, parameters: parameterCount(source), digest },
    server: config.server && { name: config.server.model, baseUrl: 'in process' },
    pool: earlier?.pool ?? null,
    clusters: earlier?.clusters ?? null,
    plannedCells,
  };
}

function parameterCount(source: HfModel): number {
  return source.tensorNames().reduce((sum, name) => sum + source.info(name).shape.reduce((a, b) => a * b, 1), 0);
}

async function buildPools(
  cells: readonly PlannedCell[],
  config: BenchConfig,
  pools: PoolStore,
  progress: (progress: Progress) => void,
  signal: AbortSignal | undefined,
): Promise<void> {
  // the pool itself is always needed: the scope of a query is measured in its space
  const wanted = [config.pool, ...cells.flatMap((cell) => strategyNamed(cell.strategy).pools(cell, pools))];
  const byPath = new Map(wanted.map((pool) => [pools.path(pool), pool]));
  let number = 0;
  for (const pool of byPath.values()) {
    const name = byPath.size === 1 ? 'pool' : `pool ${++number} of ${byPath.size}`;
    await pools.ensure(pool, {
      onProgress: ({ stage, done, total, note }) => progress({ stage: `${name}: ${stage}`, done, total, note }),
      ...(signal === undefined ? {} : { signal }),
    });
  }
}

async function describePool(
  manifest: RunManifest,
  config: BenchConfig,
  base: LoadedModel,
  pools: PoolStore,
): Promise<ScopeSpace> {
  const pool = openPool(pools.path(config.pool));
  const { N, tau, embedding, adapters } = pool.manifest;
  const parameters = Array.from({ length: N }, (_, n) => {
    const adapter = pool.openAdapter(n);
    const count = adapter.modules.reduce((sum, m) => sum + m.r * (m.in + m.out), 0);
    adapter.close();
    return count;
  }).reduce((a, b) => a + b, 0);
  const { kind, centred } = embedding;
  manifest.pool = { N, r: Math.max(...adapters.map((a) => a.r)), embedding: kind, centred, tau, parameters };
  const space = scopeSpace(pool, base);
  manifest.clusters ??= await mapOfTrainingSet(config, pool, space);
  return space;
}

function cellTitle({ strategy, options }: PlannedCell): string {
  return [strategy, ...Object.entries(options).map(([name, value]) => `${name} ${value}`)].join(', ');
}

function noticesOf(config: BenchConfig, tasks: readonly BenchTask[], users: readonly UserWithExamples[]): string[] {
  const notices = tasks
    .filter((task) => task.overlapping > 0)
    .map((task) => `${task.name}: ${task.overlapping} examples left out, being in the training set or in both splits.`);
  for (const { info, test } of users) {
    if (test.length < config.test_examples) notices.push(`${info.name} has only ${test.length} test examples.`);
  }
  return [...new Set(notices)];
}

/** Progress in answers, which are more even than cells. */
function answersOf(cellsDone: number, cells: number, { test_examples: each }: BenchConfig) {
  return { done: Math.round(cellsDone * each), total: cells * each };
}

function stopped(directory: BenchRunDirectory, done: number, total: number): CrayonError {
  return new CrayonError('interrupted', `${directory.path}: stopped after ${done} of ${total} cells`, {
    hint: 'The same command continues from here.',
  });
}

/** How long the remaining cells will take, by those that are done. */
class CellClock {
  readonly #total: number;
  done = 0;
  readonly #started = performance.now();

  constructor(total: number) {
    this.#total = total;
  }

  tick(): void {
    this.done++;
  }

  left(share: number): string {
    const reached = this.done + share;
    if (this.done === 0) return '';
    const ms = ((performance.now() - this.#started) / reached) * (this.#total - reached);
    return `; ${this.done}/${this.#total} cells, ${formatDuration(ms)} left in all`;
  }
}
