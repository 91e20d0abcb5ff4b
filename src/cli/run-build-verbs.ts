/** The work and the words of `crayon build-pool prepare`, `train`, `finish`, and of `--engine`; loaded only when they run. */

import { basename, resolve } from 'node:path';
import { CrayonError } from '../core/errors.js';
import { formatCount } from '../core/format.js';
import { threadShare, threadVariables } from '../core/threads.js';
import { exists } from '../files/io.js';
import type { JsonObject } from '../files/json.js';
import { readYaml } from '../files/yaml.js';
import { type EngineKind, INDEX, type Work } from '../jobs/engine.js';
import { ENGINES } from '../jobs/index.js';
import { runWork } from '../jobs/run.js';
import type { BuildHooks, BuildPoolOptions } from '../pool/inputs.js';
import { isPoolDirectory, openPool } from '../pool/pool.js';
import { type BuildPlanFile, isPlanOf, planPath, readPlan } from '../pool/units/plan.js';
import { doneUnits, finishBuild, isTrained, type OtherPlaces, prepareBuild, trainBuild } from '../pool/units/verbs.js';
import { workPath } from '../pool/work-directory.js';
import type { BackendFlag } from './options.js';
import { onBackend, show, showPool } from './run-build-pool.js';
import { stopSignal } from './stop-signal.js';
import type { Terminal } from './terminal.js';

type Backend = BackendFlag['backend'];

interface PlaceFlags extends OtherPlaces {
  pool: string;
  /** the plan's when absent */
  backend?: Backend;
}

export interface TrainFlags extends PlaceFlags {
  cluster?: number;
  joint: boolean;
}

export interface FinishFlags extends PlaceFlags {
  force: boolean;
}

export interface EngineFlags {
  engine?: keyof typeof ENGINES;
  workers: number;
  engineOptions?: string[];
  print: boolean;
}

export async function runPrepare(options: BuildPoolOptions, wanted: Backend, terminal: Terminal): Promise<void> {
  await onBackend(wanted, terminal, async (_, hooks) => {
    const plan = await withProgress(terminal, hooks, (all) => prepareBuild(options, wanted, all));
    sayPlan(plan, terminal);
  });
}

function sayPlan(plan: BuildPlanFile, terminal: Terminal): void {
  const { N, mode, units, joint, options } = plan;
  terminal.document({ plan: planPath(options.out), mode, N, units, joint });
  terminal.print(`${terminal.colour.green('Plan written:')} ${planPath(options.out)} (N = ${N}, mode ${mode})`);
  const each = units.map(({ examples }) => formatCount(examples)).join(', ');
  terminal.print(
    units.length > 0 ? `Clusters 0 to ${N - 1} of ${each} examples.` : 'One unit: all clusters share their steps.',
  );
  if (joint !== null)
    terminal.print(
      `Behind them a joint phase of ${formatCount(joint.steps)} steps, by \`train --joint\` or \`finish\`.`,
    );
  const cluster = units.length > 0 ? ' --cluster K' : '';
  terminal.print(`Train:  crayon build-pool train --pool ${options.out}${cluster}`);
  terminal.print(`Then:   crayon build-pool finish --pool ${options.out}`);
}

export async function runTrain(
  { pool, cluster, joint, backend, ...places }: TrainFlags,
  terminal: Terminal,
): Promise<void> {
  const plan = readPlan(pool);
  Object.assign(process.env, threadVariables(plan.threads));
  await onBackend(backend ?? plan.backend, terminal, async (name, hooks) => {
    const { wasDone, tokensPerSecond } = await withProgress(terminal, hooks, (all) =>
      trainBuild(pool, joint ? 'joint' : cluster, all, places),
    );
    terminal.document({
      pool,
      cluster: cluster ?? null,
      ...(joint && { joint }),
      backend: name,
      wasDone,
      tokensPerSecond,
    });
    const what = joint ? 'Joint phase' : cluster === undefined ? 'All clusters' : `Cluster ${cluster}`;
    const speed = wasDone ? ' (before)' : ` (${Math.round(tokensPerSecond)} tokens/s)`;
    terminal.print(`${terminal.colour.green('Trained:')} ${what}${speed}`);
  });
}

export async function runFinish({ pool, backend, ...places }: FinishFlags, terminal: Terminal): Promise<void> {
  const started = performance.now();
  const plan = readPlan(pool);
  Object.assign(process.env, threadVariables(plan.threads));
  await onBackend(backend ?? plan.backend, terminal, async (name, hooks) => {
    const result = await withProgress(terminal, hooks, (all) => finishBuild(pool, all, places));
    if (result !== null)
      return show(result, { ...plan.options, out: pool }, name, performance.now() - started, terminal);
    terminal.document({ pool, backend: name, manifest: openPool(pool).manifest });
    terminal.print(`${terminal.colour.green('Pool:')} ${pool} was there already, of this plan.`);
  });
}

const withProgress = <T>(terminal: Terminal, hooks: BuildHooks, work: (hooks: BuildHooks) => Promise<T>): Promise<T> =>
  terminal.during(({ update }) =>
    work({ ...hooks, onProgress: ({ stage, done, total, note }) => update(stage, done, total, note) }),
  );

/** `--engine`: prepares here, has the units and the end done there. */
export async function runOnEngine(
  options: BuildPoolOptions,
  flags: EngineFlags & { engine: keyof typeof ENGINES } & BackendFlag,
  terminal: Terminal,
): Promise<void> {
  const kind: EngineKind = ENGINES[flags.engine];
  const engine = kind.open(engineOptions(flags.engineOptions ?? []));
  const { out } = options;
  const planned = !options.fresh && exists(planPath(out)) ? readPlan(out) : undefined;
  const known = planned !== undefined && isPlanOf(planned, options) ? planned : undefined;
  if (flags.print) {
    terminal.print(engine.print(workOf(options, known, flags.workers)));
    return;
  }
  await engine.check();
  const started = performance.now();
  const plan = known ?? (await prepareHere(options, flags.backend, terminal));
  const work = workOf(options, plan, flags.workers);
  const stop = stopSignal();
  try {
    await terminal.during(({ update }) =>
      runWork({
        engine,
        kind,
        work,
        signal: stop.signal,
        isDone: (job) => (job === 'last' ? isPoolDirectory(out) && !exists(planPath(out)) : isTrained(plan, job)),
        onProgress: (done, total, note) => update(kind.name, done, total, note),
      }),
    );
  } finally {
    stop.release();
  }
  showPool(out, { engine: kind.name }, performance.now() - started, terminal);
}

async function prepareHere(options: BuildPoolOptions, wanted: Backend, terminal: Terminal): Promise<BuildPlanFile> {
  let plan: BuildPlanFile | undefined;
  await onBackend(wanted, terminal, async (_, hooks) => {
    plan = await withProgress(terminal, hooks, (all) => prepareBuild(options, wanted, all));
  });
  return plan!;
}

/** @param plan when it is not there yet, as many units as clusters are asked for */
function workOf({ out, mode, clusters }: BuildPoolOptions, plan: BuildPlanFile | undefined, workers: number): Work {
  if (plan === undefined && clusters === 'auto') {
    throw new CrayonError('bad-option', '--print with --clusters auto: how many there will be is not known yet', {
      hint: 'Run `crayon build-pool prepare` first, with the same options, or give a number of clusters.',
    });
  }
  const isSeparate = mode === 'separate';
  const done = plan === undefined ? Array<boolean>(isSeparate ? Number(clusters) : 1).fill(false) : doneUnits(plan);
  const pool = resolve(out);
  // the largest clusters first, so that none of them is begun when the others are nearly done
  const size = (k: number) => plan?.units[k]?.tokens ?? 0;
  const left = done.flatMap((isDone, k) => (isDone ? [] : k)).sort((a, b) => size(b) - size(a));
  return {
    name: `crayon-${basename(pool).replace(/[^A-Za-z0-9-]+/g, '-')}`,
    program: [process.execPath, ...process.execArgv, resolve(process.argv[1]!)],
    unit: ['build-pool', 'train', '--pool', pool, ...(isSeparate ? ['--cluster', INDEX] : [])],
    last: ['build-pool', 'finish', '--pool', pool],
    indices: left,
    dir: workPath(pool),
    workers,
    threads: plan?.threads ?? threadShare(),
  };
}

/** `partition=gpu,time=1:00:00`, or a YAML file of such keys; the later ones count. */
function engineOptions(given: readonly string[]): JsonObject {
  const all = given.map((text): JsonObject => {
    if (/\.ya?ml$/i.test(text)) return readYaml(text).value as JsonObject;
    const pairs = text.split(',').map((pair) => /^([^=]+)=(.*)$/.exec(pair)?.slice(1));
    const wrong = pairs.indexOf(undefined);
    if (wrong === -1) return Object.fromEntries(pairs as string[][]);
    throw new CrayonError('bad-option', `--engine-options ${text}: "${text.split(',')[wrong]}" is not key=value`);
  });
  return Object.assign({}, ...all);
}
