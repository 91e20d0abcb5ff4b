/**
 * The job of scripts/trainers/torch_trainer.py: everything that was decided about a training, in files that need no crayon to be
 * read, and what comes back. All of it lies in one directory, which may be run on another machine.
 *
 *     job.json               layout, settings, where the base model is
 *     job.safetensors        token ids, gates, batches, learning rates, parameters to begin with
 *     base/                  config.json and weights of a base model that transformers cannot open as it is
 *     state.safetensors      checkpoint and result: parameters, moments, the loss of every step
 *     scores.safetensors     at the end: log-probabilities of the evaluated examples
 */

import { join, resolve } from 'node:path';
import { CrayonError } from '../../../core/errors.js';
import { ensureDirectory } from '../../../files/atomic.js';
import { sha256 } from '../../../files/digest.js';
import { exists, removePath } from '../../../files/io.js';
import { readOptionalJson, writeJson } from '../../../files/json.js';
import { GgufModel } from '../../../gguf/base.js';
import type { BaseModel } from '../../../hf/base-model.js';
import { initialParameters } from '../../../model/lora-layout.js';
import { SafetensorsFile } from '../../../safetensors/read.js';
import { writeSafetensors } from '../../../safetensors/write.js';
import { LENGTH_STEP } from '../../../train/batches.js';
import { TrainingPlan } from '../../../train/plan.js';
import { TRAINER_DEFAULTS, type TrainerOptions } from '../options.js';
import type { TrainingTask } from '../trainer.js';

export interface JobPlace {
  dir: string;
  id: string;
  totalSteps: number;
  trainer: TrainerOptions;
}

/** Its directory within the work directory; `WorkDirectory.load` and `save` take names with it. */
const JOB = 'torch';
const FORMAT = { format: 'crayon-training-job', version: 1 } as const;

/** Writes what is missing of the job: an earlier run of the same fingerprint has left the same. */
export function writeJob(task: TrainingTask): JobPlace {
  const { options, inputs, work, layout, gates, evaluated } = task;
  const { examples, model } = inputs;
  const trainer = options.trainer ?? TRAINER_DEFAULTS;
  const dir = join(resolve(work.path), JOB);
  const id = sha256(JSON.stringify(inputs.fingerprint));
  const settings = { ...options.training, seed: options.seed };
  const lengths = examples.map(({ ids }) => ids.length);
  const plan = new TrainingPlan(lengths, settings);
  const place = { dir, id, totalSteps: plan.totalSteps, trainer };
  if (readOptionalJson(join(dir, 'job.json'))?.id === id) return place;
  removePath(dir); // what was begun
  ensureDirectory(dir);

  const steps = Array.from({ length: plan.totalSteps }, (_, step) => plan.batchesOf(step));
  const sequences = examples.map(({ ids }) => ids);
  const batches = steps.flat();
  const scale = settings.loraAlpha / layout.r;
  work.save(`${JOB}/job`, {
    ids: flatOf(sequences),
    idStarts: startsOf(sequences),
    promptLengths: Int32Array.from(examples, ({ promptLength }) => promptLength),
    gates: Float32Array.from(gates.flatMap((row) => Array.from(row, (coefficient) => coefficient * scale))),
    members: flatOf(batches),
    batchStarts: startsOf(batches),
    stepStarts: startsOf(steps),
    learningRates: Float64Array.from(steps, (_, step) => plan.learningRateOf(step)),
    parameters: initialParameters(layout, options.seed),
    evaluated: Int32Array.from(evaluated),
  });
  const { clipNorm, ...adamw } = settings.adamw;
  writeJson(join(dir, 'job.json'), {
    ...FORMAT,
    id,
    base: writeBase(model, dir, trainer),
    dtype: trainer.dtype,
    layout,
    adamw: { ...adamw, clipNorm: Number.isFinite(clipNorm) ? clipNorm : null },
    lengthStep: LENGTH_STEP,
    checkpointSeconds: options.checkpointSeconds,
  });
  return place;
}

/** Where each of several lists begins when they lie behind one another, and where the last one ends. */
function startsOf(lists: ReadonlyArray<{ length: number }>): Int32Array {
  const starts = new Int32Array(lists.length + 1);
  for (const [i, { length }] of lists.entries()) starts[i + 1] = starts[i]! + length;
  return starts;
}

function flatOf(lists: ReadonlyArray<ArrayLike<number>>): Int32Array {
  const starts = startsOf(lists);
  const flat = new Int32Array(starts.at(-1)!);
  for (const [i, list] of lists.entries()) flat.set(list, starts[i]);
  return flat;
}

/**
 * A Hugging Face directory as it is; a GGUF's tensors as crayon reads them, dequantised, beside the job.
 *
 * @returns the directory, relative to the job where it lies in it
 */
function writeBase(model: BaseModel, dir: string, { dtype }: TrainerOptions): string {
  if (!(model instanceof GgufModel)) return resolve(model.path);
  ensureDirectory(join(dir, 'base'));
  writeJson(join(dir, 'base', 'config.json'), model.configJson);
  const tensors = model.tensorNames().map((name) => ({
    name,
    dtype: dtype === 'float32' ? ('F32' as const) : ('BF16' as const),
    shape: model.info(name).shape,
    data: () => model.readF32(name),
  }));
  writeSafetensors(join(dir, 'base', 'model.safetensors'), tensors, { format: 'pt' });
  return 'base';
}

export interface JobResult {
  parameters: Float32Array;
  losses: Float32Array;
  /** summed log-probability of each evaluated example, through the base model and through its mixture */
  scores: { base: Float64Array; adapted: Float64Array };
}

/** What the script has left, or undefined before the end. @throws CrayonError `checkpoint-mismatch`, `safetensors-invalid` */
export function readResult(
  { dir, id, totalSteps }: JobPlace,
  { work, layout, evaluated }: TrainingTask,
): JobResult | undefined {
  const read = <T>(name: string, load: (stage: string) => T | undefined): T | undefined => {
    const path = join(dir, `${name}.safetensors`);
    if (!exists(path)) return undefined;
    const file = SafetensorsFile.open(path);
    file.close();
    if (file.metadata.job === id) return load(`${JOB}/${name}`);
    throw new CrayonError('checkpoint-mismatch', `${path}: is of another training`, {
      hint: 'Put the files of this job there, or remove it.',
    });
  };
  const state = read('state', (stage) => work.load(stage, { parameters: 'F32', losses: 'F32' }));
  const scores = read('scores', (stage) => work.load(stage, { base: 'F64', adapted: 'F64' }));
  if (state === undefined || scores === undefined || state.losses.length < totalSteps) return undefined;
  const expected = [layout.size, totalSteps, evaluated.length, evaluated.length];
  const found = [state.parameters.length, state.losses.length, scores.base.length, scores.adapted.length];
  if (String(found) === String(expected)) return { ...state, scores };
  throw new CrayonError('safetensors-invalid', `${dir}: results of ${found} numbers, expected ${expected}`, {
    hint: 'What the trainer left is damaged: give --fresh to start over.',
  });
}
