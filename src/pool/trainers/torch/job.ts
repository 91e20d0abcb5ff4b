/**
 * The job of scripts/trainers/torch_trainer.py: everything that was decided about a training, in files that need no crayon to be
 * read, and what comes back. All of it lies in one directory, which may be run on another machine.
 *
 *     job.json               layout, settings, where the base model is
 *     job.safetensors        token ids, gates, batches, learning rates, parameters to begin with
 *     general/               the job of a residual pool's general adapter, which is trained first
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
import { flatOf, startsOf } from '../../flat-lists.js';
import { TRAINER_DEFAULTS, type TrainerOptions } from '../options.js';
import type { Trained, TrainingTask } from '../trainer.js';

export interface JobPlace {
  dir: string;
  id: string;
  totalSteps: number;
  trainer: TrainerOptions;
  general?: JobPlace | undefined;
}

/** Its directory within the work directory; `WorkDirectory.load` and `save` take names with it. */
const JOB = 'torch';
const GENERAL = `${JOB}/general`;
/** 2: the last adapters of the layout are frozen, and hold what the job in general/ has trained. */
const FORMAT = { format: 'crayon-training-job', version: 1 } as const;

/** Writes what is missing of the job: an earlier run of the same fingerprint has left the same. */
export function writeJob(task: TrainingTask): JobPlace {
  const { inputs, general } = task;
  const place = placeOf(task);
  const { dir, id } = place;
  if (readOptionalJson(join(dir, 'job.json'))?.id === id) return place;
  removePath(dir); // what was begun
  ensureDirectory(dir);
  const base = writeBase(inputs.model, dir, place.trainer);
  // its own place is one deeper
  if (general !== undefined) writeJobFiles(general, place.general!, base === BASE ? `../${BASE}` : base);
  writeJobFiles(task, place, base);
  return place;
}

function placeOf(task: TrainingTask): JobPlace {
  const { options, inputs, work, phase, general } = task;
  const { examples, fingerprint } = inputs;
  const isGeneral = phase === 'general';
  return {
    dir: join(resolve(work.path), isGeneral ? GENERAL : JOB),
    id: sha256(JSON.stringify(isGeneral ? { ...fingerprint, phase } : fingerprint)),
    totalSteps: planOf(options, examples).totalSteps,
    trainer: options.trainer ?? TRAINER_DEFAULTS,
    general: general && placeOf(general),
  };
}

function planOf({ training, seed }: TrainingTask['options'], examples: TrainingTask['inputs']['examples']) {
  const lengths = examples.map(({ ids }) => ids.length);
  return new TrainingPlan(lengths, { ...training, seed });
}

function writeJobFiles(task: TrainingTask, { dir, id, trainer }: JobPlace, base: string): void {
  const { options, inputs, work, layout, gates, evaluated, phase, start } = task;
  const { examples } = inputs;
  const settings = options.training;
  const plan = planOf(options, examples);
  const steps = Array.from({ length: plan.totalSteps }, (_, step) => plan.batchesOf(step));
  const sequences = examples.map(({ ids }) => ids);
  const batches = steps.flat();
  const scale = settings.loraAlpha / layout.r;
  ensureDirectory(dir);
  work.save(`${phase === 'general' ? GENERAL : JOB}/job`, {
    ids: flatOf(sequences),
    idStarts: startsOf(sequences),
    promptLengths: Int32Array.from(examples, ({ promptLength }) => promptLength),
    gates: Float32Array.from(gates.flatMap((row) => Array.from(row, (coefficient) => coefficient * scale))),
    members: flatOf(batches),
    batchStarts: startsOf(batches),
    stepStarts: startsOf(steps),
    learningRates: Float64Array.from(steps, (_, step) => plan.learningRateOf(step)),
    parameters: start ?? initialParameters(layout, options.seed),
    evaluated: Int32Array.from(evaluated),
  });
  const { clipNorm, ...adamw } = settings.adamw;
  writeJson(join(dir, 'job.json'), {
    ...FORMAT,
    ...(layout.frozen !== undefined && { version: 2 }),
    id,
    base,
    dtype: trainer.dtype,
    layout,
    adamw: { ...adamw, clipNorm: Number.isFinite(clipNorm) ? clipNorm : null },
    lengthStep: LENGTH_STEP,
    checkpointSeconds: options.checkpointSeconds,
  });
}

const BASE = 'base';

/**
 * A Hugging Face directory as it is; a GGUF's tensors as crayon reads them, dequantised, beside the job.
 *
 * @returns the directory, relative to the job where it lies in it
 */
function writeBase(model: BaseModel, dir: string, { dtype }: TrainerOptions): string {
  if (!(model instanceof GgufModel)) return resolve(model.path);
  ensureDirectory(join(dir, BASE));
  writeJson(join(dir, BASE, 'config.json'), model.configJson);
  const tensors = model.tensorNames().map((name) => ({
    name,
    dtype: dtype === 'float32' ? ('F32' as const) : ('BF16' as const),
    shape: model.info(name).shape,
    data: () => model.readF32(name),
  }));
  writeSafetensors(join(dir, BASE, 'model.safetensors'), tensors, { format: 'pt' });
  return BASE;
}

export interface JobResult extends Omit<Trained, 'tokensPerSecond'> {
  /** summed log-probability of each evaluated example, through the base model and through its mixture */
  scores: { base: Float64Array; adapted: Float64Array };
  general?: Trained | undefined;
}

/** What the script has left, or undefined before the end. @throws CrayonError `checkpoint-mismatch`, `safetensors-invalid` */
export function readResult(place: JobPlace, task: TrainingTask): JobResult | undefined {
  const { evaluated, work } = task;
  const state = readState(place, task);
  const general = place.general && readState(place.general, task.general!);
  const scores = ofJob(place, 'scores', () => work.load(`${JOB}/scores`, { base: 'F64', adapted: 'F64' }));
  if (state === undefined || scores === undefined || (place.general && general === undefined)) return undefined;
  refuseLengths(place, [scores.base.length, scores.adapted.length], [evaluated.length, evaluated.length]);
  return { ...state, scores, general: general && { ...general, tokensPerSecond: 0 } };
}

function readState(place: JobPlace, { work, layout, phase }: TrainingTask) {
  const stage = `${phase === 'general' ? GENERAL : JOB}/state`;
  const state = ofJob(place, 'state', () => work.load(stage, { parameters: 'F32', losses: 'F32' }));
  if (state === undefined || state.losses.length < place.totalSteps) return undefined;
  refuseLengths(place, [state.parameters.length, state.losses.length], [layout.size, place.totalSteps]);
  return state;
}

/** @throws CrayonError `checkpoint-mismatch` where the file is of another job */
function ofJob<T>({ dir, id }: JobPlace, name: string, load: () => T): T | undefined {
  const path = join(dir, `${name}.safetensors`);
  if (!exists(path)) return undefined;
  const file = SafetensorsFile.open(path);
  file.close();
  if (file.metadata.job === id) return load();
  throw new CrayonError('checkpoint-mismatch', `${path}: is of another training`, {
    hint: 'Put the files of this job there, or remove it.',
  });
}

function refuseLengths({ dir }: JobPlace, found: number[], expected: number[]): void {
  if (String(found) === String(expected)) return;
  throw new CrayonError('safetensors-invalid', `${dir}: results of ${found} numbers, expected ${expected}`, {
    hint: 'What the trainer left is damaged: give --fresh to start over.',
  });
}
