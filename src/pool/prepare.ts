/** Examples to token sequences, with every example checked against the model's context. */

import { CrayonError } from '../core/errors.js';
import { abridge } from '../core/format.js';
import type { Example } from '../data/dataset.js';
import { expectExamples } from '../hf/encode-example.js';
import { PLAIN, type PromptForm } from '../hf/prompt-form.js';
import type { Tokenizer } from '../hf/tokenizer.js';
import { completionsTooLong, fitExample, refuseUnknownTokens } from '../train/batches.js';

/** What happens to an example that is longer than the limit. */
export type LongPolicy = 'error' | 'skip' | 'truncate';

export interface PreparedExample {
  id: string;
  dataset: string;
  prompt: string;
  /** BOS (if the tokenizer adds one), prompt, completion, the token that ends the answer */
  ids: Int32Array;
  /** tokens before the completion, BOS included */
  promptLength: number;
  /** the prompt's tokens without BOS: what is embedded */
  promptIds: Int32Array;
}

export interface Prepared {
  examples: PreparedExample[];
  skipped: number;
  truncated: number;
}

export interface PrepareOptions {
  /** longest sequence, in tokens */
  maxLength: number;
  long: LongPolicy;
  /** in which the model is given its prompts; plain when absent */
  form?: PromptForm | undefined;
  /** append the token that ends an answer, so that the model learns to stop */
  addEnd: boolean;
  /** rows of the model's embedding table; no check of the token ids when absent */
  vocabSize?: number;
}

/**
 * Tokenises examples. `truncate` drops the first tokens of the prompt, which keeps the question's end and the answer; in form
 * chat the beginning of the first user's message, which keeps the template's frame too.
 *
 * @throws CrayonError `example-too-long` naming the examples, under policy `error`, or when a completion alone is too long;
 *   `example-invalid` for a prompt without tokens, `tokenizer-invalid` for a token that the model does not have
 */
export function prepareExamples(
  examples: ReadonlyArray<Example>,
  tokenizer: Tokenizer,
  { maxLength, long, form = PLAIN, addEnd, vocabSize }: PrepareOptions,
): Prepared {
  const prepared: PreparedExample[] = [];
  const tooLong: string[] = [];
  const empty: string[] = [];
  let skipped = 0;
  let truncated = 0;
  const bos = tokenizer.addsBos ? 1 : 0;
  expectExamples(tokenizer, examples, form);
  for (const example of examples) {
    const { whole, fitting: cut } = fitExample(tokenizer, example, { form, addEnd, maxLength });
    refuseUnknownTokens(example.id, whole.ids, vocabSize);
    const isLong = whole.ids.length > maxLength;
    if (isLong && long === 'skip') {
      skipped++;
      continue;
    }
    const fitting = isLong && long === 'error' ? undefined : cut;
    if (fitting === undefined) {
      tooLong.push(`${example.id} (${whole.ids.length})`);
      continue;
    }
    if (isLong) truncated++;
    const { ids, promptLength } = fitting;
    if (promptLength <= bos) empty.push(example.id);
    prepared.push({
      id: example.id,
      dataset: example.dataset,
      prompt: example.prompt,
      ids,
      promptLength,
      promptIds: ids.slice(bos, promptLength),
    });
  }
  if (empty.length > 0) {
    const problem = `the prompt of ${abridge(empty, 3, ', ')} has no tokens, so nothing to embed`;
    const hint = 'The tokenizer drops all its characters: leave these examples out.';
    throw new CrayonError('example-invalid', problem, { hint });
  }
  if (tooLong.length > 0 && long === 'truncate') throw completionsTooLong(tooLong, examples.length, maxLength);
  if (tooLong.length > 0) {
    throw new CrayonError(
      'example-too-long',
      `${tooLong.length} of ${examples.length} examples exceed ${maxLength} tokens: ${abridge(tooLong, 3, ', ')}`,
      { hint: 'Use --long truncate to cut the front of their prompts, or --long skip to leave them out.' },
    );
  }
  return { examples: prepared, skipped, truncated };
}
