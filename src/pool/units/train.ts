/**
 * The adapter of one cluster, trained by itself from a build's plan: the same bytes in any process of one type of machine. A unit's
 * directory has a lock, the checkpoints of its training and then its result, so that one that was killed goes on, one that is done is
 * not done again, and two workers at one cluster do it once.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { CrayonError, isCrayonError } from '../../core/errors.js';
import { LIMITS } from '../../core/limits.js';
import { THREADS_VARIABLE, threadShare } from '../../core/threads.js';
import { sha256File } from '../../files/digest.js';
import { exists } from '../../files/io.js';
import type { BaseModel } from '../../hf/base-model.js';
import {
  adapterFactors,
  initialParameters,
  type LoraLayout,
  poolLayout,
  setAdapterFactors,
} from '../../model/lora-layout.js';
import type { Network } from '../../model/network.js';
import type { TrainingExample } from '../../train/batches.js';
import { listsOf } from '../flat-lists.js';
import type { BuildHooks } from '../inputs.js';
import { type Build, type Staged, trainerOf } from '../stages.js';
import type { TrainedAdapters } from '../trainers/trainer.js';
import { fingerprintOf, loadStage, stageFile, WorkDirectory } from '../work-directory.js';
import { type BuildPlanFile, EXAMPLE_ARRAYS, EXAMPLES, unitPath, writePlan } from './plan.js';

const RESULT = 'result';
/** `evaluation`: mean loss on the cluster's sample before and after; empty where there is none. */
const RESULT_ARRAYS = { parameters: 'F32', losses: 'F32', evaluation: 'F64' } as const;

/** What a unit is trained with. */
export interface UnitBase {
  plan: BuildPlanFile;
  model: BaseModel;
  /** the model, open for forward passes: read when first asked for */
  network: () => Network;
  hooks: BuildHooks;
}

export interface UnitOutcome {
  /** it was there already, or another worker did it meanwhile */
  wasDone: boolean;
  tokensPerSecond: number;
}

/** Whether the adapter of cluster k is there. @throws CrayonError `checkpoint-mismatch` where it is another plan's */
export function isUnitDone({ options, units }: BuildPlanFile, k: number): boolean {
  const dir = unitPath(options.out, k);
  const found = fingerprintOf(dir)?.unit;
  if (found !== undefined && found !== units[k]!.fingerprint) {
    throw new CrayonError('checkpoint-mismatch', `${dir}: left by a worker with another plan`, {
      hint: 'Stop that worker and remove this directory, then run `crayon build-pool prepare` again.',
    });
  }
  return found !== undefined && exists(stageFile(dir, RESULT));
}

/**
 * Trains the adapter of cluster k, from the beginning or from a checkpoint.
 *
 * @throws CrayonError `checkpoint-mismatch` where base or examples are not those of the plan, `unit-busy` while another worker has it,
 *   `interrupted` with a checkpoint, `loss-not-finite`
 */
export async function trainUnit(base: UnitBase, k: number): Promise<UnitOutcome> {
  const { plan, hooks } = base;
  refuseOtherThreads(plan);
  const work = await openUnit(plan, k, hooks.signal);
  if (work === undefined) return { wasDone: true, tokensPerSecond: 0 };
  try {
    const { examples, evaluated } = readExamples(plan, k);
    const result = examples.length === 0 ? untrained(base, k) : await trained(base, k, { work, examples, evaluated });
    const { parameters, losses, evaluation, tokensPerSecond } = result;
    work.save(RESULT, { parameters, losses, evaluation });
    work.keepOnly([EXAMPLES, RESULT]);
    return { wasDone: false, tokensPerSecond };
  } catch (error) {
    // Numbers that diverged would diverge again from a checkpoint.
    if (isCrayonError(error, 'loss-not-finite')) work.keepOnly([EXAMPLES]);
    throw error;
  } finally {
    work.release();
  }
}

/** @throws CrayonError `checkpoint-mismatch` where this process would round otherwise than the plan says */
export function refuseOtherThreads({ threads: planned }: BuildPlanFile): void {
  const threads = threadShare();
  if (threads === planned) return;
  const found = `this process computes with ${threads} threads, but the plan was made for ${planned}`;
  throw new CrayonError('checkpoint-mismatch', found, {
    hint: `Set ${THREADS_VARIABLE}=${planned}: another number would round otherwise.`,
  });
}

/** The unit's directory, once nobody else works there; undefined when the result is there. */
async function openUnit(plan: BuildPlanFile, k: number, signal?: AbortSignal): Promise<WorkDirectory | undefined> {
  const dir = unitPath(plan.options.out, k);
  const fingerprint = { unit: plan.units[k]!.fingerprint };
  for (const until = performance.now() + LIMITS.unitBusyMs; ; await sleep(LIMITS.unitPollMs)) {
    if (isUnitDone(plan, k)) return undefined;
    try {
      const work = new WorkDirectory(dir, fingerprint, false);
      if (!work.has(RESULT)) return work;
      work.release(); // done between the question and the lock
      return undefined;
    } catch (error) {
      if (!isCrayonError(error, 'output-exists')) throw error;
      if (performance.now() < until && signal?.aborted !== true) continue;
      throw new CrayonError('unit-busy', `cluster ${k}: ${error.message}`, {
        hint: `It goes on without this worker; ${error.hint}`,
        cause: error,
      });
    }
  }
}

function readExamples({ options, units }: BuildPlanFile, k: number) {
  const dir = unitPath(options.out, k);
  const file = stageFile(dir, EXAMPLES);
  const arrays = loadStage(dir, EXAMPLES, EXAMPLE_ARRAYS);
  if (arrays === undefined || sha256File(file) !== units[k]!.sha256) {
    throw new CrayonError(
      'checkpoint-mismatch',
      `${file}: ${arrays ? 'is not what the plan was made of' : 'is missing'}`,
      {
        hint: 'Copy the directory of the build again, or run `crayon build-pool prepare` again, with --fresh.',
      },
    );
  }
  const examples = listsOf(arrays.ids, arrays.idStarts).map(
    (ids, i): TrainingExample => ({ ids, promptLength: arrays.promptLengths[i]! }),
  );
  return { examples, evaluated: [...arrays.evaluated] };
}

const unitLayout = (model: BaseModel, { options }: BuildPlanFile, k: number): LoraLayout => ({
  ...poolLayout(model, options, 1),
  first: k,
});

/** Of a cluster without examples: what a training would begin with, which is the base model. */
function untrained({ plan, model }: UnitBase, k: number) {
  const parameters = initialParameters(unitLayout(model, plan, k), plan.options.seed);
  return { parameters, losses: new Float32Array(), evaluation: new Float64Array(), tokensPerSecond: 0 };
}

interface UnitExamples {
  work: WorkDirectory;
  examples: TrainingExample[];
  evaluated: number[];
}

async function trained({ plan, model, network, hooks }: UnitBase, k: number, unit: UnitExamples) {
  const { options, micro, units } = plan;
  const { parameters, losses, tokensPerSecond, lossOf } = await trainerOf(options).train({
    ...unit,
    phase: 'train',
    options,
    hooks,
    inputs: { model, examples: unit.examples, fingerprint: { unit: units[k]!.fingerprint } },
    layout: unitLayout(model, plan, k),
    gates: unit.examples.map(() => [1]),
    micro: micro ?? undefined,
    model: network,
  });
  const { evaluated } = unit;
  const evaluation = evaluated.length === 0 ? [] : [await lossOf(evaluated, false), await lossOf(evaluated, true)];
  return { parameters, losses, evaluation: Float64Array.from(evaluation), tokensPerSecond };
}

/** All clusters one after the other, in this process. @returns the plan that they are of */
export async function trainUnits(build: Build, staged: Staged) {
  const { inputs, model: network, hooks, options } = build;
  const plan = { ...writePlan(build, staged, 'auto'), options };
  const total = plan.units.reduce((sum, { steps }) => sum + steps, 0);
  let [before, tokens, seconds] = [0, 0, 0];
  for (const [k, unit] of plan.units.entries()) {
    const onProgress: BuildHooks['onProgress'] = ({ stage, done, note }) =>
      stage === 'train' && hooks.onProgress?.({ stage, done: before + done, total, note: `cluster ${k}, ${note}` });
    const outcome = await trainUnit({ plan, model: inputs.model, network, hooks: { ...hooks, onProgress } }, k);
    before += unit.steps;
    if (outcome.tokensPerSecond > 0) {
      tokens += unit.tokens;
      seconds += unit.tokens / outcome.tokensPerSecond;
    }
  }
  return { plan, tokensPerSecond: seconds === 0 ? 0 : tokens / seconds };
}

/** The clusters whose adapters are not there. */
export function missingUnits(plan: BuildPlanFile): number[] {
  return plan.units.flatMap((_, k) => (isUnitDone(plan, k) ? [] : k));
}

/** The adapters of all clusters in the layout of the pool; the losses of a step are the mean over the clusters that had it. */
export function gatherUnits(plan: BuildPlanFile, { task, clustering }: Staged): TrainedAdapters {
  const { layout, inputs } = task;
  const parameters = new Float32Array(layout.size);
  const results = plan.units.map((_, k) => {
    const dir = unitPath(plan.options.out, k);
    const { parameters: found, losses, evaluation } = loadStage(dir, RESULT, RESULT_ARRAYS)!;
    const alone = unitLayout(inputs.model, plan, k);
    if (found.length !== alone.size) {
      throw new CrayonError('safetensors-invalid', `${dir}: ${found.length} parameters, expected ${alone.size}`, {
        hint: 'Remove this directory and train the cluster again.',
      });
    }
    for (const [i, module] of layout.modules.entries()) {
      setAdapterFactors(layout, parameters, module, k, adapterFactors(alone, found, alone.modules[i]!, 0));
    }
    return { losses, evaluation };
  });
  const steps = Math.max(...results.map(({ losses }) => losses.length));
  const losses = Float32Array.from({ length: steps }, (_, step) => {
    const had = results.filter((unit) => step < unit.losses.length);
    return had.reduce((sum, unit) => sum + unit.losses[step]!, 0) / had.length;
  });
  return {
    parameters,
    losses,
    tokensPerSecond: 0,
    lossOf: async ([first], adapted) => results[clustering.assignment[first!]!]!.evaluation[adapted ? 1 : 0]!,
  };
}
