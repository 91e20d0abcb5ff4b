/**
 * Sequences of tokens for training and scoring: made to fit the model, and batched with those of like length, so that little
 * is padding. Free of any tensor library.
 */

import { CrayonError } from '../core/errors.js';
import { abridge } from '../core/format.js';
import { createRandom } from '../core/random.js';
import { type EncodableExample, encodeCut, encodeExample } from '../hf/encode-example.js';
import type { PromptForm } from '../hf/prompt-form.js';
import type { Tokenizer } from '../hf/tokenizer.js';
import type { TargetBatch } from '../model/network.js';

/** A tokenised example: prompt, then completion. */
export interface TrainingExample {
  ids: Int32Array;
  /** tokens before the first token that is to be predicted, at least 1 */
  promptLength: number;
}

/** A batch padded on the right to one length. */
export interface PaddedBatch extends TargetBatch {
  /** (P) index of the example that each target belongs to */
  owners: Int32Array;
}

/** Lengths are padded to a multiple of this, so that few different shapes occur. */
export const LENGTH_STEP = 8;

/**
 * The batches of one epoch, a function of the seed and the epoch alone.
 *
 * Shuffle, sort by length within windows of 32 batches, cut, shuffle the batches.
 */
export function epochBatches(lengths: ArrayLike<number>, batchSize: number, seed: number, epoch: number): number[][] {
  const random = createRandom(seed, `batches/${epoch}`);
  const order = random.shuffle(Array.from(lengths, (_, i) => i));
  const window = batchSize * 32;
  const batches: number[][] = [];
  for (let start = 0; start < order.length; start += window) {
    const bucket = order.slice(start, start + window).sort((i, j) => lengths[i]! - lengths[j]! || i - j);
    for (let at = 0; at < bucket.length; at += batchSize) batches.push(bucket.slice(at, at + batchSize));
  }
  return random.shuffle(batches);
}

/**
 * @param groups indices of the examples that each row of the batch stands for: those of a group may differ in their last
 *   token alone, and each has its targets. One example a row when not given.
 */
export function padBatch(
  examples: readonly TrainingExample[],
  groups: ReadonlyArray<readonly number[]> = examples.map((_, i) => [i]),
): PaddedBatch {
  const B = groups.length;
  const longest = Math.max(...groups.map(([first]) => examples[first!]!.ids.length));
  // The last token is only ever a target, so the model need not read it.
  const T = Math.ceil((longest - 1) / LENGTH_STEP) * LENGTH_STEP;
  const ids = new Int32Array(B * T);
  const rows: number[] = [];
  const targets: number[] = [];
  const owners: number[] = [];
  groups.forEach((group, b) => {
    ids.set(examples[group[0]!]!.ids.subarray(0, -1), b * T);
    for (const i of group) {
      const example = examples[i]!;
      for (let t = example.promptLength - 1; t < example.ids.length - 1; t++) {
        rows.push(b * T + t);
        targets.push(example.ids[t + 1]!);
        owners.push(i);
      }
    }
  });
  return { ids, B, T, rows: Int32Array.from(rows), targets: Int32Array.from(targets), owners: Int32Array.from(owners) };
}

/**
 * Drops the first tokens of a prompt, which keeps the question's end and the answer.
 *
 * @param bos leading tokens that stay: 1 where the sequence starts with BOS
 * @returns undefined when the completion leaves no room for a token of the prompt
 */
export function cutFront(example: TrainingExample, maxLength: number, bos: number): TrainingExample | undefined {
  const excess = example.ids.length - maxLength;
  if (excess <= 0) return example;
  if (example.promptLength - excess <= bos) return undefined;
  const ids = Int32Array.of(...example.ids.subarray(0, bos), ...example.ids.subarray(bos + excess));
  return { ids, promptLength: example.promptLength - excess };
}

/**
 * An example as token ids that fit: of a plain prompt the first tokens are dropped, of a conversation the first characters of its
 * first user's message.
 *
 * @returns the whole example, and what fits of it: undefined where the completion leaves no room for a prompt
 */
export function fitExample(
  tokenizer: Tokenizer,
  example: EncodableExample,
  { form, addEnd, maxLength }: { form: PromptForm; addEnd: boolean; maxLength: number },
): { whole: TrainingExample; fitting: TrainingExample | undefined } {
  const whole = encodeExample(tokenizer, example, form, { addEnd });
  if (whole.ids.length <= maxLength) return { whole, fitting: whole };
  const fitting =
    form.kind === 'plain'
      ? cutFront(whole, maxLength, tokenizer.addsBos ? 1 : 0)
      : encodeCut(tokenizer, example, form, { addEnd, maxLength });
  return { whole, fitting };
}

/** @param tooLong each as `<id> (<tokens>)` */
export function completionsTooLong(tooLong: readonly string[], examples: number, maxLength: number): CrayonError {
  return new CrayonError(
    'example-too-long',
    `${tooLong.length} of ${examples} examples have a completion that leaves no room for a prompt in ${maxLength} tokens: ${abridge(tooLong, 3, ', ')}`,
    { hint: 'Shorten these completions or leave the examples out; only prompts are cut.' },
  );
}

/** @throws CrayonError `tokenizer-invalid` where the model has no embedding for a token */
export function refuseUnknownTokens(id: string, ids: Int32Array, vocabSize: number | undefined): void {
  const unknown = vocabSize === undefined ? undefined : ids.find((token) => token >= vocabSize);
  if (unknown === undefined) return;
  throw new CrayonError('tokenizer-invalid', `${id}: token ${unknown}, but the model has rows 0 to ${vocabSize! - 1}`, {
    hint: 'The tokenizer.json beside the model belongs to another model, or was extended without the model.',
  });
}
