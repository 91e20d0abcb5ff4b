/**
 * Builds a pool: embed the training set in the base LLM's own space, cluster it, train one base LoRA per cluster, write.
 *
 * Method: Crayon (arXiv 2406.07007). Every stage's result is kept in a work directory beside the output, so a killed
 * build continues where it was and ends with the same bytes as one that ran through. The three verbs of units/ do the same stages
 * one by one, in any processes that share that directory.
 */

import { CrayonError } from '../core/errors.js';
import { type BuildResult, completePool } from './complete.js';
import type { BuildHooks, BuildPoolOptions } from './inputs.js';
import { type Build, type Staged, trainerOf, untilTraining, withBuild } from './stages.js';
import { type JobPlace, writeJob } from './trainers/torch/job.js';
import type { TrainedAdapters } from './trainers/trainer.js';
import { trainJointly } from './units/joint.js';
import { trainUnits } from './units/train.js';

export type { BuildResult } from './complete.js';

/** @throws CrayonError for every fault of the inputs, `interrupted` when the signal fires */
export function buildPool(options: BuildPoolOptions, hooks: BuildHooks = {}): Promise<BuildResult> {
  return withBuild(options, hooks, async (build) => {
    const staged = await untilTraining(build);
    const isSeparate = options.mode === 'separate';
    const trained = isSeparate ? await trainSeparately(build, staged) : await trainerOf(options).train(staged.task);
    return await completePool(build, staged, trained);
  });
}

/** Each cluster by itself; then all of them together, where that was asked for. */
async function trainSeparately(build: Build, staged: Staged): Promise<TrainedAdapters> {
  const { plan, tokensPerSecond } = await trainUnits(build, staged);
  const trained = await trainJointly(plan, build, staged);
  return { ...trained, tokensPerSecond: trained.tokensPerSecond || tokensPerSecond };
}

/**
 * Does what comes before the training and leaves the job of an external trainer in the work directory, to be run by hand, on
 * another machine too; `buildPool` with the same options goes on with its result.
 *
 * @throws CrayonError `bad-option` for a pool whose adapters are trained one by one, each a job of its own
 */
export function writeTrainingJob(options: BuildPoolOptions, hooks: BuildHooks = {}): Promise<JobPlace> {
  if (options.mode === 'separate') {
    throw new CrayonError('bad-option', 'mode is separate, which is not one job but one for each cluster', {
      hint: 'Use `crayon build-pool prepare`, then `train --cluster` where PyTorch is.',
    });
  }
  return withBuild(options, hooks, async (build) => {
    const { task } = await untilTraining(build);
    const place = writeJob(task);
    build.work.release();
    return place;
  });
}
