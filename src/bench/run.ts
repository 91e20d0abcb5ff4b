/**
 * A bench run: every user, every way of customising the model for it, on the same test examples. Each cell is saved when
 * it is done; a run that was stopped goes on with the cells that are missing, and ends with the same numbers.
 */

import { CrayonError } from '../core/errors.js';
import { formatDuration } from '../core/format.js';
import type { Progress } from '../core/long-work.js';
import { groupBy } from '../core/stats.js';
import type { JsonObject } from '../files/json.js';
import { CRAYON_VERSION } from '../files/package.js';
import { refuseOtherRun } from '../files/resume.js';
import { openBase } from '../gguf/base.js';
import type { BaseModel } from '../hf/base-model.js';
import { PLAIN, promptRecord } from '../hf/prompt-form.js';
import { openNetwork } from '../model/open-network.js';
import { type AnswerSettings, answerExamples, type LoadedModel, timeAnswers } from './answers.js';
import { cellOf } from './cells.js';
import { type LiveRunOptions, type LiveSummary, runLive, summariseLive } from './live/run.js';
import { runLoadPart } from './load/run.js';
import { measureForCells } from './measure.js';
import { type PerturbedTests, perturbedSignals, perturbedTests } from './perturbed.js';
import { planRun, poolsOf, runForm, type SeedPlan } from './plan.js';
import type { Placed, ScopeSpace } from './pool-space.js';
import { PoolStore } from './pools.js';
import type { BenchRunDirectory } from './run-directory.js';
import { buildPools, describePool, settleRate } from './seed-pools.js';
import { type BenchConfig, findBenchPath } from './settings.js';
import { EDGES, strategyNamed } from './strategies/index.js';
import type { BenchContext, PlannedCell } from './strategies/strategy.js';
import type { AnswerRecord, Cell, LoadCell, RunManifest } from './types.js';
import {
  type BenchTask,
  drawExamples,
  loadBenchTask,
  type PlannedUser,
  type ReadSplit,
  readTrainingSet,
  splitReader,
  type TrainingSet,
  type UserWithExamples,
} from './users.js';
import { asWidened } from './widening.js';

export interface BenchRunOptions extends Pick<LiveRunOptions, 'config' | 'directory' | 'command'> {
  /** the machine in words, and the commit: what only the command line knows */
  machine: string;
  commit: string | null;
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
  const { config, directory, command, env, signal = new AbortController().signal, onProgress = () => {} } = options;
  // 1) read and check everything before any work
  const { seeds, cells, live, load } = planRun(config);
  const base = openModel(config);
  let server: LoadedModel | undefined;
  try {
    const readSplit = splitReader(config.data_dir);
    const parts = seeds.map((plan) => readSeed(plan, base, directory, readSplit, onProgress));
    const users = parts.flatMap((part) => part.users);
    const planned = [...cells, ...live];
    const manifest = startManifest(options, base, parts[0]!.training, planned.length);
    const isMade = ({ key }: Pick<Cell, 'key'>) => directory.hasCell(key);
    const made = () => planned.filter(isMade);
    const reused = made().length;
    const notices = [...new Set(parts.flatMap((part) => part.notices))];
    const result = (): BenchResult => ({
      manifest,
      cells: made().map(({ key }) => directory.readCell(key)),
      live: summariseLive(config, directory, users),
      load: load.filter(({ key }) => directory.hasLoad(key)).map(({ key }) => directory.readLoad(key)),
      reused,
      notices,
    });
    if (cells.every(isMade) && manifest.finished !== null) {
      // a run that asks for other cells, all of which are there, has them from now on
      manifest.plannedCells = reused;
      if (reused !== directory.earlier?.plannedCells) directory.writeManifest(manifest);
      return result();
    }
    manifest.finished = null;
    directory.writeManifest(manifest);

    const openServer = () => {
      server ??= openModel({ ...config, model: config.server!.model, pool: { ...config.pool, dir: undefined } });
      // It was not trained here: plain in a plain run, and else as its own template has it.
      if (base.form?.kind !== 'chat') server.form = PLAIN;
      return server;
    };
    const shared = { base, server: openServer, manifest, directory, signal, onProgress };
    try {
      for (const part of parts) {
        const missing = part.cells.filter((cell) => !isMade(cell));
        const isFirst = part === parts[0];
        if (missing.length === 0 && part.live.every(isMade) && !(isFirst && load.length > 0)) continue;
        // 2) pools, each once; first the one whose rate is to be found
        const { context, cells: settled } = await settleRate(part, missing, shared);
        await buildPools(poolsOf(context.config, settled, context.pools), context);
        await measureForCells(settled, context);
        const space = await describePool(manifest, part, context);
        directory.writeManifest(manifest);
        // 3) cells, a user's together
        await runCells(settled, part.users, space, context);
        // 4) the router and load, on running servers
        const pool = context.pools.path(context.config.pool);
        const ofSeed = { config: context.config, users: part.users, pool };
        const servers: LiveRunOptions = { ...ofSeed, directory, signal, command, env, onProgress };
        if (config.live !== undefined) notices.push(...(await runLive(servers)));
        if (isFirst && config.load !== undefined) notices.push(...(await runLoadPart(servers)));
      }
    } catch (error) {
      // Ctrl-C reaches the servers too: that they have ended is then no failure.
      if (!signal.aborted) throw error;
      const share = `${made().length} of ${planned.length} cells`;
      throw new CrayonError('interrupted', `${directory.path}: stopped after ${share}`, {
        hint: 'The same command continues from here.',
      });
    }
    // a device that is too small leaves its cells out, and is told
    manifest.plannedCells = made().length;
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

/** What the work at one seed needs, read and checked. */
function readSeed(
  plan: SeedPlan,
  base: LoadedModel,
  { work }: BenchRunDirectory,
  readSplit: ReadSplit,
  onProgress: (progress: Progress) => void,
) {
  const { config } = plan;
  const training = readTrainingSet(config);
  const tasks = loadTasks(config, training, readSplit, onProgress);
  const tasksOf = ({ taskPaths }: PlannedUser) => taskPaths.map((path) => tasks.get(path)!);
  const users = plan.users.map((user) => drawExamples(user, tasksOf(user), config));
  const pools = new PoolStore(config, training, base.source.digest(), work, base.form);
  return { ...plan, training, users, pools, notices: noticesOf(config, [...tasks.values()], users) };
}

async function runCells(
  cells: readonly PlannedCell[],
  users: readonly UserWithExamples[],
  space: ScopeSpace,
  context: BenchContext,
): Promise<void> {
  const { config, directory, signal, onProgress } = context;
  const each = config.test_examples; // progress is in answers, which are more even than cells
  const left = countdown(cells.length);
  let done = 0;
  for (const [id, ofUser] of groupBy(cells, ({ user }) => user.id)) {
    const user = users.find((one) => one.id === id)!;
    const placed = await space.placed(user);
    const perturbed = await perturbedTests(user, space, config);
    for (const [i, cell] of ofUser.entries()) {
      const report = (share: number) =>
        onProgress({
          stage: id,
          done: Math.round((i + share) * each),
          total: ofUser.length * each,
          note: `${cellTitle(cell)}${left(done + share)}`,
        });
      report(0);
      const { measured, records } = await runCell(cell, user, context, { placed, perturbed }, report);
      directory.writeCell(measured, records);
      report(1);
      done++;
      signal.throwIfAborted();
    }
  }
}

/** One user, one strategy: customise, answer, measure. */
async function runCell(
  cell: PlannedCell,
  user: UserWithExamples,
  context: BenchContext,
  { placed, perturbed }: { placed: readonly Placed[]; perturbed: PerturbedTests },
  report: (share: number) => void,
): Promise<{ measured: Cell; records: AnswerRecord[] }> {
  const { config, signal } = context;
  const { answerer, ms, parameters, ...costs } = await strategyNamed(cell.strategy).customise(cell, user, context);
  const { info, method, test } = user;
  const isServer = cell.strategy === 'server';
  const settings: AnswerSettings = {
    method,
    batchSize: config.batch_size,
    maxTokens: config.max_tokens,
    signal,
    onProgress: (done, total) => report(done / total),
  };
  const { records: answered, loss, cutPrompts } = await answerExamples(answerer, test, settings);
  // only of what the report routes
  const isRouted = cell.table === 'strategies' && EDGES.includes(cell.strategy);
  const changed = isRouted ? await perturbedSignals(perturbed, config, answerer, settings) : [];
  const timed = await timeAnswers(answerer, test.slice(0, config.latency_examples), settings);
  const records = answered.map(
    (record, i): AnswerRecord =>
      isServer ? { ...record, source: 'in_cloud' } : { ...record, ...placed[i], ...changed[i] },
  );
  const measured = cellOf({
    ...cell,
    ...costs,
    user: info,
    method,
    loss,
    cutPrompts: cutPrompts || undefined,
    customisationMs: ms,
    adapterBytes: 4 * parameters, // as float32; the files' headers aside
    adapterParameters: parameters,
    costPer1000: null,
    test,
    records,
    timed,
  });
  return { measured, records };
}

function openModel(config: BenchConfig): LoadedModel {
  const source = openBase(findBenchPath(config.model));
  try {
    const tokenizer = source.tokenizer();
    const form = runForm(config, tokenizer);
    return { source, model: openNetwork(source), tokenizer, form };
  } catch (error) {
    source.close();
    throw error;
  }
}

function loadTasks(
  config: BenchConfig,
  training: TrainingSet,
  readSplit: ReadSplit,
  progress: (progress: Progress) => void,
): Map<string, BenchTask> {
  const paths = [...new Set(config.users.flatMap((user) => user.tasks))];
  return new Map(
    paths.map((path, i) => {
      const task = loadBenchTask(path, config, training, readSplit);
      progress({ stage: 'read tasks', done: i + 1, total: paths.length });
      return [path, task] as const;
    }),
  );
}

/** A new manifest, or that of the run which goes on. @throws CrayonError `checkpoint-mismatch` */
function startManifest(
  { config, directory, machine, commit, now }: BenchRunOptions,
  { source, form = PLAIN }: LoadedModel,
  training: TrainingSet,
  plannedCells: number,
): RunManifest {
  const { earlier } = directory;
  const digest = source.digest();
  // the data's digests are part of the configuration as it was used
  const used = { ...config, training: training.digests, prompt: promptRecord(form) };
  if (earlier !== undefined) {
    const hint = 'Choose another --out, or give --fresh to throw its cells away.';
    const begun = asWidened(earlier.config as JsonObject, used);
    const before = { ...begun, 'base model': earlier.base.digest };
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
    curves: earlier?.curves,
    rates: earlier?.rates,
    plannedCells,
  };
}

function parameterCount(source: BaseModel): number {
  return source.tensorNames().reduce((sum, name) => sum + source.info(name).shape.reduce((a, b) => a * b, 1), 0);
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

/** How long the remaining cells will take, by those that are done. */
function countdown(total: number): (reached: number) => string {
  const started = performance.now();
  return (reached) => {
    const done = Math.floor(reached);
    if (done === 0) return '';
    const ms = ((performance.now() - started) / reached) * (total - reached);
    return `; ${done}/${total} cells, ${formatDuration(ms)} left in all`;
  };
}
