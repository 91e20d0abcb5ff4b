/**
 * A build in three verbs, each in a process of its own that can be killed at any point and repeated: `prepare` reads, embeds, clusters
 * and writes the plan; `train` trains what the plan says, one cluster or, where clusters are trained together, all; `finish` makes the
 * pool. They share nothing but the build's directory. One after the other they write the bytes of `buildPool`.
 */

import { CrayonError } from '../../core/errors.js';
import { abridge } from '../../core/format.js';
import { exists } from '../../files/io.js';
import { openBase } from '../../gguf/base.js';
import type { Network } from '../../model/network.js';
import { openNetwork } from '../../model/open-network.js';
import { type BuildResult, completePool } from '../complete.js';
import type { BuildHooks, BuildPoolOptions } from '../inputs.js';
import { isPoolDirectory, openPool, type PoolManifest } from '../pool.js';
import { type BuildNeeds, trainerOf, untilTraining, withBuild } from '../stages.js';
import { discardWork, loadStage, stageFile, workPath } from '../work-directory.js';
import { isJointDone, trainJointly } from './joint.js';
import { type BuildPlanFile, readPlan, writePlan } from './plan.js';
import { isUnitDone, missingUnits, trainUnit } from './train.js';

/** Of the modes whose adapters are trained together: steps that were taken. */
const TRAINED = 'trained';

/** Where a worker finds what the plan names, when not where the plan was made. */
export interface OtherPlaces {
  model?: string | undefined;
  data?: string[] | undefined;
  dataDir?: string | undefined;
}

/** Everything before the training. @throws CrayonError as `buildPool` */
export function prepareBuild(
  options: BuildPoolOptions,
  backend: BuildPlanFile['backend'],
  hooks: BuildHooks = {},
): Promise<BuildPlanFile> {
  const needs: BuildNeeds = { plansMemory: true, opensModel: false };
  return withBuild(
    options,
    hooks,
    async (build) => {
      const plan = writePlan(build, await untilTraining(build), backend);
      build.work.release();
      return plan;
    },
    needs,
  );
}

export interface TrainOutcome {
  /** it was there already */
  wasDone: boolean;
  tokensPerSecond: number;
}

/**
 * Trains one cluster's adapter, or all of them where the plan's mode trains them together.
 *
 * @param cluster its number; `joint` for the phase that follows when all are trained; undefined for all
 * @throws CrayonError `bad-option` where the plan has no such unit, `clusters-missing` before the joint phase, `checkpoint-mismatch` where base or data are other ones here,
 *   `unit-busy`, `interrupted` with a checkpoint, `loss-not-finite`
 */
export async function trainBuild(
  out: string,
  cluster: number | 'joint' | undefined,
  hooks: BuildHooks = {},
  places: OtherPlaces = {},
): Promise<TrainOutcome> {
  const plan = moved(readPlan(out), places);
  const { mode, N } = plan;
  if (cluster === 'joint') return await trainJoint(plan, hooks);
  if (mode !== 'separate') {
    if (cluster === undefined) return await trainTogether(plan, hooks);
    throw new CrayonError(
      'bad-option',
      `cluster ${cluster} of a pool in mode ${mode}, whose adapters share their steps`,
      {
        hint: 'Leave --cluster out: `train` trains all of them, as one unit. Adapters that can be trained one by one are those of --mode separate.',
      },
    );
  }
  if (cluster === undefined || cluster >= N) {
    const found = cluster === undefined ? 'no cluster is named' : `there is no cluster ${cluster}`;
    throw new CrayonError('bad-option', `${found}; this plan has clusters 0 to ${N - 1}`, {
      hint: 'Give --cluster with one of them.',
    });
  }
  if (isUnitDone(plan, cluster)) return { wasDone: true, tokensPerSecond: 0 };
  const model = openBase(plan.options.model);
  let opened: Network | undefined;
  const network = () => {
    opened ??= openNetwork(model);
    return opened;
  };
  try {
    refuseOtherBase(plan, model.digest());
    return await trainUnit({ plan, model, network, hooks }, cluster);
  } finally {
    opened?.dispose();
    model.close();
  }
}

function moved(plan: BuildPlanFile, { model, data, dataDir }: OtherPlaces): BuildPlanFile {
  const others = { ...(model && { model }), ...(data && { data }), ...(dataDir && { dataDir }) };
  return { ...plan, options: { ...plan.options, ...others } };
}

function refuseOtherBase({ base, options }: BuildPlanFile, found: string): void {
  if (found === base.digest) return;
  throw new CrayonError(
    'checkpoint-mismatch',
    `${options.model}: digest ${found.slice(0, 12)}, but the plan was made with ${base.name}, ${base.digest.slice(0, 12)}`,
    { hint: 'Name a copy of that base model on this machine with --model.' },
  );
}

const named = ({ base, sources }: BuildPlanFile): BuildNeeds['names'] => ({ baseName: base.name, sources });

const areTrained = ({ options }: BuildPlanFile): boolean => exists(stageFile(workPath(options.out), TRAINED));

function trainTogether(plan: BuildPlanFile, hooks: BuildHooks): Promise<TrainOutcome> | TrainOutcome {
  if (areTrained(plan)) return { wasDone: true, tokensPerSecond: 0 };
  return withBuild(
    { ...plan.options, force: true }, // it writes no pool
    hooks,
    async (build) => {
      const { task } = await untilTraining(build);
      const { losses, tokensPerSecond } = await trainerOf(plan.options).train(task);
      build.work.save(TRAINED, { steps: Int32Array.of(losses.length) });
      build.work.release();
      return { wasDone: false, tokensPerSecond };
    },
    { plansMemory: true, opensModel: true, names: named(plan) },
  );
}

/** The joint phase alone: `finish` would do it too. */
function trainJoint(plan: BuildPlanFile, hooks: BuildHooks): Promise<TrainOutcome> | TrainOutcome {
  const { options, mode } = plan;
  if (plan.joint === null) {
    const hint =
      mode === 'separate'
        ? 'Run `crayon build-pool prepare` again with --joint-fraction: what is trained stays.'
        : 'Leave --joint out: `train` trains all adapters, as one unit.';
    throw new CrayonError('bad-option', `this plan, of mode ${mode}, has no joint phase`, { hint });
  }
  if (isJointDone(plan)) return { wasDone: true, tokensPerSecond: 0 };
  refuseMissing(plan);
  return withBuild(
    { ...options, force: true }, // it writes no pool
    hooks,
    async (build) => {
      const { tokensPerSecond } = await trainJointly(plan, build, await untilTraining(build));
      build.work.release();
      return { wasDone: false, tokensPerSecond };
    },
    { plansMemory: false, opensModel: true, names: named(plan) },
  );
}

/** @throws CrayonError `clusters-missing` naming those that are not trained */
function refuseMissing(plan: BuildPlanFile): void {
  const { N, options, mode } = plan;
  const isSeparate = mode === 'separate';
  const missing = isSeparate ? missingUnits(plan) : [];
  if (missing.length === 0 && (isSeparate || areTrained(plan))) return;
  const found = isSeparate
    ? `${missing.length} of ${N} clusters are not trained: ${abridge(missing.map(String), 20, ', ')}`
    : 'the adapters are not trained to the end';
  const verb = `crayon build-pool train${isSeparate ? ' --cluster' : ''}`;
  throw new CrayonError('clusters-missing', `${options.out}: ${found}`, { hint: `Run \`${verb}\` for them first.` });
}

/**
 * Makes the pool of what was trained, after the joint phase where one was asked for and nobody has done it yet, and removes the build's directory.
 *
 * @param force replace an existing pool; as the plan says when absent
 * @returns null where the pool is there already, of this very plan: an earlier `finish` was killed between its two last steps
 * @throws CrayonError `clusters-missing` naming those that are not trained, `checkpoint-mismatch` where data or base are other ones here
 */
export async function finishBuild(
  out: string,
  hooks: BuildHooks = {},
  places: OtherPlaces & { force?: boolean } = {},
): Promise<BuildResult | null> {
  const plan = moved(readPlan(out), places);
  if (!plan.options.force && isPoolDirectory(out) && isPoolOf(plan, out)) {
    discardWork(out);
    return null;
  }
  const isSeparate = plan.mode === 'separate';
  refuseMissing(plan);
  const options = { ...plan.options, force: places.force || plan.options.force };
  const isModelUsed = !isSeparate || options.joint !== undefined || options.heldOut !== undefined;
  return await withBuild(
    options,
    hooks,
    async (build) => {
      const staged = await untilTraining(build);
      const trained = isSeparate
        ? await trainJointly(plan, build, staged)
        : await trainerOf(options).train(staged.task);
      return await completePool(build, staged, trained);
    },
    { plansMemory: !isSeparate, opensModel: isModelUsed, names: named(plan) },
  );
}

/** Whether a pool that has come since the plan was made is of it: of the same base, data and centroids. */
function isPoolOf({ base, sources, options }: BuildPlanFile, out: string): boolean {
  const { manifest, centroids } = openPool(out);
  const clusters = loadStage(workPath(out), 'clusters', { centroids: 'F32' });
  const digests = (data: PoolManifest['data']) => data.map(({ sha256 }) => sha256).join();
  return (
    manifest.base.digest === base.digest &&
    digests(manifest.data) === digests(sources) &&
    manifest.training.mode === options.mode &&
    manifest.adapters[0]!.r === options.r &&
    String(clusters?.centroids) === String(centroids)
  );
}

/** Whether a unit of a build is done: a cluster, or the one unit, 0, of those that share their steps. */
export const isTrained = (plan: BuildPlanFile, k: number): boolean =>
  plan.mode === 'separate' ? isUnitDone(plan, k) : areTrained(plan);

/** Which units are. */
export function doneUnits(plan: BuildPlanFile): boolean[] {
  return Array.from({ length: plan.mode === 'separate' ? plan.N : 1 }, (_, k) => isTrained(plan, k));
}
