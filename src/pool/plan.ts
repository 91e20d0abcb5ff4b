/** What a build would do: how much it would train, in what memory, and, tried for two steps, in what time. */

import { activeBackend } from '../model/backend.js';
import { initialParameters, type LoraLayout } from '../model/lora-layout.js';
import type { Learner } from '../model/network.js';
import { openNetwork } from '../model/open-network.js';
import { padBatch } from '../train/batches.js';
import { type MicroBatchPlan, type MicroBatchRequest, partsOf, planMicroBatches } from '../train/micro-batches.js';
import { TrainingPlan } from '../train/plan.js';
import { candidateCounts } from './cluster.js';
import { generalOptions, trainedLayout } from './general.js';
import { type BuildInputs, type BuildPoolOptions, jointSettings, readInputs } from './inputs.js';

/** Of what is free when nothing is said. */
const SHARE_OF_FREE = 0.75;

/** The parts in which batches are read, on the active back end. @throws CrayonError `memory-too-small` */
export function planMemory(options: BuildPoolOptions, inputs: BuildInputs, layout: LoraLayout): MicroBatchPlan {
  const { gradientAccumulation: accumulation } = options.training;
  const batchSize = Math.max(options.training.batchSize, options.joint?.batchSize ?? 0);
  const { model: source, examples } = inputs;
  return planTraining({ source, layout, examples, batchSize, accumulation }, options.memory);
}

/** Likewise of any training. @param memory bytes that the process may take; three quarters of what is free when absent */
export function planTraining(
  training: Omit<MicroBatchRequest, 'backend' | 'budget' | 'before'>,
  memory: number | undefined,
): MicroBatchPlan {
  const before = process.memoryUsage().rss;
  return planMicroBatches({ ...training, backend: activeBackend(), budget: memoryBudget(memory), before });
}

/** Bytes that the process may take. */
export const memoryBudget = (memory: number | undefined): number =>
  memory ?? process.memoryUsage().rss + SHARE_OF_FREE * process.availableMemory();

/** The layout with the most adapters that may be trained at a time. */
export function largestLayout(options: BuildPoolOptions, inputs: BuildInputs): LoraLayout {
  const isAlone = options.mode === 'separate' && options.joint === undefined;
  return trainedLayout(inputs, options, isAlone ? 1 : largestCount(options, inputs));
}

/** The largest N that may be chosen. */
const largestCount = ({ clusters }: BuildPoolOptions, { examples }: BuildInputs) =>
  Math.max(...candidateCounts(examples.length, clusters));

export type BuildPlan = Awaited<ReturnType<typeof planBuild>>;

/**
 * What a build would do. Two steps are tried with crayon's own trainer, one of them on the longest examples: the memory is what they took,
 * the time what the training would take at their speed.
 *
 * @throws CrayonError for every fault that a build would refuse
 */
export async function planBuild(options: BuildPoolOptions) {
  const inputs = readInputs(options);
  const { model, examples, skipped, truncated, form } = inputs;
  try {
    const layout = largestLayout(options, inputs);
    const lengths = examples.map((e) => e.ids.length);
    const plan = new TrainingPlan(lengths, options.training);
    const { adapters, r, size } = layout;
    const ofRank = size / (adapters * r);
    const before = options.general && {
      parameters: ofRank * options.general.r,
      plan: new TrainingPlan(lengths, generalOptions(options, options.general).training),
    };
    const { joint, training } = options;
    const behind = joint && new TrainingPlan(lengths, jointSettings(training, joint));
    const maxClusters = largestCount(options, inputs);
    const parameters = ofRank * maxClusters * r;
    const isOwn = (options.trainer?.name ?? 'own') === 'own';
    const memory = isOwn ? planMemory(options, inputs, layout) : undefined;
    const tried = memory && (await tryTwoSteps(options, inputs, layout, memory, { plan, before, behind }));
    return {
      examples: examples.length,
      /** in which prompts would be trained */
      promptForm: form.kind,
      tokens: lengths.reduce((sum, length) => sum + length, 0),
      /** tokens of the longest example */
      longest: Math.max(...lengths),
      skipped,
      truncated,
      /** N, or the largest N that `auto` would try */
      maxClusters,
      /** trainable LoRA parameters */
      parameters,
      steps: plan.totalSteps,
      /** what is trained first */
      ...(before && { general: { parameters: before.parameters, steps: before.plan.totalSteps } }),
      /** what is trained at last, all adapters together */
      ...(behind && { joint: { steps: behind.totalSteps } }),
      poolBytes: 4 * (parameters + (before?.parameters ?? 0)),
      /** rows that are computed at a time, and whether blocks are run again for their backward pass */
      ...(memory && { rowsAtATime: memory.rows, recomputes: memory.recomputes }),
      /** largest resident size of this process, which took the steps; null with another trainer */
      memoryBytes: tried?.bytes ?? null,
      /** of the training; null likewise */
      seconds: tried?.seconds ?? null,
    };
  } finally {
    model.close();
  }
}

/** A training with what comes before and behind it. */
interface Phases {
  plan: TrainingPlan;
  before: { parameters: number; plan: TrainingPlan } | undefined;
  behind: TrainingPlan | undefined;
}

/** @returns the process's largest resident size, and seconds for all steps */
async function tryTwoSteps(
  options: BuildPoolOptions,
  { model, examples }: BuildInputs,
  layout: LoraLayout,
  memory: MicroBatchPlan,
  { plan, before, behind }: Phases,
) {
  const { training, seed } = options;
  const lengths = examples.map((e) => e.ids.length);
  const network = openNetwork(model);
  let learner: Learner | undefined;
  try {
    const start = initialParameters(layout, seed);
    const { loraAlpha, adamw } = training;
    learner = network.learner({ layout, loraAlpha, start, adamw, recomputes: memory.recomputes });
    const gate = new Float32Array(layout.adapters).fill(1 / layout.adapters);
    const stepsOf = (plan: TrainingPlan) =>
      Array.from({ length: plan.totalSteps }, (_, step) =>
        plan.batchesOf(step).flatMap((members) => partsOf(members, lengths, memory)),
      );
    const parts = stepsOf(plan);
    const rows = (part: readonly number[]) => part.length * Math.max(...part.map((i) => lengths[i]!));
    const all = parts.flat().sort((a, b) => rows(b) - rows(a));
    const timed = async (part: readonly number[]) => {
      const padded = padBatch(part.map((i) => examples[i]!));
      const started = performance.now();
      await learner!.add(padded, part.map(() => gate), padded.targets.length); // biome-ignore format: one call
      return (performance.now() - started) / 1000;
    };
    // the largest twice, because a step of several parts holds their sum too; then one of middle size for the time
    const largest = all[0]!;
    await timed(largest);
    if (parts.some((ofStep) => ofStep.length > 1)) await timed(largest);
    await learner.update(0);
    await learner.state();
    const middle = all[Math.floor(all.length / 2)]!;
    await timed(middle);
    const perRow = (await timed(middle)) / rows(middle);
    const started = performance.now();
    await learner.update(0);
    const perUpdate = (performance.now() - started) / 1000;
    // the general adapter's steps are shorter in the update alone: what a row costs is the model's
    const updates =
      plan.totalSteps +
      (behind?.totalSteps ?? 0) +
      ((before?.plan.totalSteps ?? 0) * (before?.parameters ?? 0)) / layout.size;
    const others = [before?.plan, behind].flatMap((other) => (other === undefined ? [] : stepsOf(other).flat()));
    const read = [...all, ...others];
    const seconds = perUpdate * updates + perRow * read.reduce((sum, part) => sum + rows(part), 0);
    return { bytes: process.resourceUsage().maxRSS * 1024, seconds };
  } finally {
    learner?.dispose();
    network.dispose();
  }
}
