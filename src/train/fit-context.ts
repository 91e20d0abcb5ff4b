/** Sequences that fit the model: its context, and its vocabulary. Free of any tensor library. */

import { abridge } from '../core/abridge.js';
import { CrayonError } from '../core/errors.js';
import type { TrainingExample } from './batches.js';

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
