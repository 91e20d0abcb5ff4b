/** PyTorch as trainer: scripts/trainers/torch_trainer.py in a Python of the user's, on the job that torch/job.ts writes. */

import { CrayonError } from '../../core/errors.js';
import type { JsonObject } from '../../files/json.js';
import { meanLoss } from '../../train/completion-score.js';
import type { TrainerOptions } from './options.js';
import { type JobPlace, type JobResult, readResult, writeJob } from './torch/job.js';
import { pythonVersions, runTrainer, trainerScript } from './torch/python.js';
import { stoppedAfter, type TrainerKind, type TrainingTask } from './trainer.js';

export const torchTrainer: TrainerKind = {
  name: 'torch',
  needsModel: false,
  async train(task) {
    const place = writeJob(task);
    const before = readResult(place, task);
    const run = before === undefined ? await runJob(place, task) : { ...before, tokensPerSecond: 0 };
    return { ...run, lossOf: async (members, adapted) => lossOf(run, task, members, adapted) };
  },
};

async function runJob(place: JobPlace, task: TrainingTask): Promise<JobResult & { tokensPerSecond: number }> {
  const { signal, onProgress } = task.hooks;
  const { python } = place.trainer;
  await pythonVersions(python);
  let tokensPerSecond = 0;
  let step = 0;
  let { phase } = task;
  let totalSteps = place.totalSteps;
  let notFinite: string | undefined;
  const onEvent = (event: JsonObject) => {
    const number = (key: string) => Number(event[key]);
    switch (event.event) {
      case 'ready':
        step = number('step');
        phase = event.phase === 'general' ? 'general' : task.phase;
        totalSteps = phase === 'general' ? place.general!.totalSteps : place.totalSteps;
        onProgress?.({
          stage: phase,
          done: step,
          total: totalSteps,
          note: `PyTorch ${event.torch} on ${event.device}`,
        });
        break;
      case 'step':
        step = number('step');
        tokensPerSecond = number('tokens') / number('seconds');
        onProgress?.({
          stage: phase,
          done: step,
          total: totalSteps,
          note: `loss ${number('loss').toFixed(3)}, ${Math.round(tokensPerSecond)} tokens/s`,
        });
        break;
      case 'evaluate':
        onProgress?.({ stage: 'evaluate', done: number('done'), total: number('total') });
        break;
      case 'not-finite':
        notFinite = `step ${event.step}: loss ${event.loss}, gradient norm ${event.gradientNorm}`;
        break;
    }
  };
  try {
    await runTrainer({ python, args: trainerArguments(place.trainer, place.dir), onEvent, signal });
  } catch (error) {
    if (notFinite === undefined) throw error;
    throw new CrayonError('loss-not-finite', notFinite, {
      hint: 'Lower --learning-rate, or check the base model with `crayon score`.',
      cause: error,
    });
  }
  const result = readResult(place, task);
  if (result !== undefined) return { ...result, tokensPerSecond };
  if (signal?.aborted) {
    throw new CrayonError('interrupted', stoppedAfter(phase, step, totalSteps), {
      hint: 'The same command continues from here.',
    });
  }
  throw new CrayonError('trainer-failed', `${python}: the trainer ended without a result in ${place.dir}`, {
    hint: 'The same command tries again; --fresh starts over.',
  });
}

/** What Python is given: the script alone, or by torchrun as often as there are GPUs. */
function trainerArguments({ processes }: TrainerOptions, dir: string): string[] {
  const torchrun = ['-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', String(processes)];
  return [...(processes > 1 ? torchrun : []), trainerScript(), '--job', dir, '--attached'];
}

function lossOf(
  { scores }: JobResult,
  { evaluated, inputs }: TrainingTask,
  members: number[],
  adapted: boolean,
): number {
  const logprobs = adapted ? scores.adapted : scores.base;
  const places = new Map(evaluated.map((i, place) => [i, place]));
  return meanLoss(
    members.map((i) => {
      const { ids, promptLength } = inputs.examples[i]!;
      return { logprob: logprobs[places.get(i)!]!, tokens: ids.length - promptLength };
    }),
  );
}
