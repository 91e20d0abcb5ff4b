/**
 * The joint phase of mode separate: when each adapter has been trained by itself, steps that all of them share, through the mixtures that
 * blending will use, from where they have come. It is a unit too, the last one of a build, with a directory, a lock and checkpoints of its
 * own: `train --joint` trains it, or else `finish`.
 */

import { isCrayonError } from '../../core/errors.js';
import { exists } from '../../files/io.js';
import { jointSettings } from '../inputs.js';
import { type Build, type Staged, trainerOf } from '../stages.js';
import type { TrainedAdapters } from '../trainers/trainer.js';
import { fingerprintOf, stageFile, WorkDirectory } from '../work-directory.js';
import { type BuildPlanFile, jointPath } from './plan.js';
import { gatherUnits, refuseOtherThreads } from './train.js';

/** Steps that were taken: there when all are. */
const TRAINED = 'trained';

/** Whether the phase of this plan has come to its end. False where it has none. */
export function isJointDone({ options, joint }: BuildPlanFile): boolean {
  const dir = jointPath(options.out);
  return joint !== null && fingerprintOf(dir)?.unit === joint.fingerprint && exists(stageFile(dir, TRAINED));
}

/**
 * The adapters of all clusters, which are there; trained jointly from the beginning or from a checkpoint, where the plan has that phase.
 *
 * @throws CrayonError `checkpoint-mismatch` in a process of another number of threads, `output-exists` while another process is at it,
 *   `interrupted` with a checkpoint, `loss-not-finite`
 */
export async function trainJointly(plan: BuildPlanFile, build: Build, staged: Staged): Promise<TrainedAdapters> {
  const alone = gatherUnits(plan, staged);
  const { joint } = plan;
  if (joint === null) return alone;
  refuseOtherThreads(plan);
  const { options } = build;
  const { task } = staged;
  const dir = jointPath(options.out);
  const fingerprint = { unit: joint.fingerprint };
  // what a phase with other settings has left is of no use to this one
  const work = new WorkDirectory(dir, fingerprint, fingerprintOf(dir)?.unit !== joint.fingerprint);
  try {
    const trained = await trainerOf(options).train({
      ...task,
      phase: 'joint',
      start: alone.parameters,
      options: { ...options, training: jointSettings(options.training, options.joint!) },
      inputs: { ...task.inputs, fingerprint },
      micro: joint.micro ?? undefined,
      work,
    });
    const { parameters, losses, tokensPerSecond, lossOf } = trained;
    work.save(TRAINED, { steps: Int32Array.of(losses.length) });
    return { ...alone, parameters, lossOf, tokensPerSecond, joint: { parameters, losses, tokensPerSecond } };
  } catch (error) {
    // Numbers that diverged would diverge again from a checkpoint.
    if (isCrayonError(error, 'loss-not-finite')) work.keepOnly([]);
    throw error;
  } finally {
    work.release();
  }
}
