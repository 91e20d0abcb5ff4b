/**
 * How many rows a training computes at a time. A batch is what the optimiser sees; it is read in parts that fit the memory, and
 * on ONNX Runtime in parts no larger than fill its threads, since beyond that rows only cost memory.
 */

import { CrayonError } from '../core/errors.js';
import { formatBytes } from '../core/format.js';
import type { BaseModel } from '../hf/base-model.js';
import type { LoraLayout } from '../model/lora-layout.js';
import { trainingMemory } from '../model/memory.js';
import type { BackendName } from '../model/names.js';
import { LENGTH_STEP, type TrainingExample } from './batches.js';

export interface MicroBatches {
  /** sequences times tokens of a part at most; one sequence is a part whatever its length */
  rows: number;
  /** see LearnerInput */
  recomputes: boolean;
}

export interface MicroBatchPlan extends MicroBatches {
  /** of the whole process at its fullest moment */
  bytes: number;
}

export interface MicroBatchRequest {
  backend: BackendName;
  source: BaseModel;
  layout: LoraLayout;
  examples: readonly TrainingExample[];
  batchSize: number;
  /** micro-batches that are asked for */
  accumulation: number;
  /** what the process may take */
  budget: number;
  /** what it takes before the model is loaded; with it, where it is */
  before: number;
  isLoaded?: boolean | undefined;
  /** options of the command, to name in a refusal; without a length where none sets it */
  flags?: { rank: string; length?: string | undefined } | undefined;
}

/** Rows that keep ONNX Runtime's threads busy: at 512 and at 2,048 a step takes as long (docs/experiments.md). */
const ENOUGH_ROWS = 1024;

/** @throws CrayonError `memory-too-small` where one sequence at a time does not fit */
export function planMicroBatches(request: MicroBatchRequest): MicroBatchPlan {
  const { backend, examples, batchSize, budget } = request;
  const longest = longestOf(examples);
  const wanted = backend === 'onnx' ? ENOUGH_ROWS : longest * batchSize;
  const choices: MicroBatches[] = [];
  for (let rows = wanted; rows >= longest; rows = Math.floor(rows / 2)) choices.push({ rows, recomputes: false });
  choices.push({ rows: longest, recomputes: false });
  if (backend === 'onnx') choices.push({ rows: longest, recomputes: true });
  for (const choice of choices) {
    const bytes = bytesOf(request, choice, longest);
    if (bytes <= budget) return { ...choice, bytes };
  }
  throw tooSmall(request, choices.at(-1)!, longest);
}

/** Members of a batch cut into parts, in their order. */
export function partsOf(members: readonly number[], lengths: ArrayLike<number>, { rows }: MicroBatches): number[][] {
  const parts: number[][] = [];
  let part: number[] = [];
  let longest = 0;
  for (const i of members) {
    const length = padded(lengths[i]!);
    if (part.length > 0 && (part.length + 1) * Math.max(longest, length) > rows) {
      parts.push(part);
      part = [];
      longest = 0;
    }
    part.push(i);
    longest = Math.max(longest, length);
  }
  parts.push(part);
  return parts;
}

/** Tokens that the model reads of a sequence, with its padding. */
const padded = (length: number) => Math.ceil((length - 1) / LENGTH_STEP) * LENGTH_STEP;
const longestOf = (examples: readonly TrainingExample[]) =>
  examples.reduce((most, { ids }) => Math.max(most, padded(ids.length)), 1);

function bytesOf(
  request: MicroBatchRequest,
  { rows, recomputes }: MicroBatches,
  T: number,
  layout = request.layout,
): number {
  const { backend, source, examples, batchSize, accumulation, before, isLoaded = false } = request;
  const B = Math.min(batchSize, examples.length, Math.max(1, Math.floor(rows / T)));
  const predicted = examples.reduce((most, { ids, promptLength }) => Math.max(most, ids.length - promptLength), 1);
  const parts = accumulation * Math.ceil(Math.min(batchSize, examples.length) / B);
  const shape = { B, T, P: B * Math.min(T, predicted) };
  const { weights, parameters, activations } = trainingMemory(backend, source, layout, shape, { parts, recomputes });
  return before + (isLoaded ? 0 : weights) + parameters + activations;
}

function tooSmall(request: MicroBatchRequest, least: MicroBatches, longest: number): CrayonError {
  const { budget, flags = { rank: '--rank', length: '--max-length' } } = request;
  const needed = bytesOf(request, least, longest);
  const lengths = Array.from({ length: longest / LENGTH_STEP - 1 }, (_, i) => longest - (i + 1) * LENGTH_STEP);
  const shorter = lengths.find((T) => T > 0 && bytesOf(request, { ...least, rows: T }, T) <= budget);
  const fewer = [4, 2, 1].find(
    (r) => r < request.layout.r && bytesOf(request, least, longest, ofRank(request.layout, r)) <= budget,
  );
  const ways = [
    `--memory ${Math.ceil(needed / 1e8) / 10}GB where the machine has it`,
    ...(shorter === undefined
      ? []
      : [
          flags.length === undefined
            ? `examples of at most ${shorter} tokens`
            : `${flags.length} ${shorter} --long truncate`,
        ]),
    ...(fewer === undefined ? [] : [`${flags.rank} ${fewer}`]),
  ];
  const problem = `a step with one example of ${longest} tokens takes about ${formatBytes(needed)}, more than the ${formatBytes(budget)} that it may take`;
  return new CrayonError('memory-too-small', problem, { hint: `Any of these fits: ${ways.join('; ')}.` });
}

/** The layout's size at another rank; its offsets are not used. */
const ofRank = (layout: LoraLayout, r: number): LoraLayout => ({ ...layout, r, size: (layout.size * r) / layout.r });
