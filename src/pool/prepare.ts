/** Examples to token sequences, with every example checked against the model's context. */

import { CrayonError } from '../core/errors.js';
import type { Example } from '../formats/dataset.js';
import { encodeExample, type Tokenizer } from '../tokenizer/tokenizer.js';

/** What happens to an example that is longer than the limit. */
export type LongPolicy = 'error' | 'skip' | 'truncate';

export interface PreparedExample {
  id: string;
  dataset: string;
  prompt: string;
  /** BOS (if the tokenizer adds one), prompt, completion, EOS */
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
  /** append EOS, so that the model learns to stop */
  addEos: boolean;
}

/**
 * Tokenises examples. `truncate` drops the first tokens of the prompt, which keeps the question's end and the answer.
 *
 * @throws CrayonError `example-too-long` naming the examples, under policy `error`, or when a completion alone is too long
 */
export function prepareExamples(
  examples: ReadonlyArray<Example>,
  tokenizer: Tokenizer,
  { maxLength, long, addEos }: PrepareOptions,
): Prepared {
  const prepared: PreparedExample[] = [];
  const tooLong: string[] = [];
  let skipped = 0;
  let truncated = 0;
  const bos = tokenizer.addsBos ? 1 : 0;
  for (const example of examples) {
    let { ids, promptLength } = encodeExample(tokenizer, example, { addEos });
    const excess = ids.length - maxLength;
    if (excess > 0 && long === 'skip') {
      skipped++;
      continue;
    }
    if (excess > 0) {
      if (long === 'error' || promptLength - excess <= bos) {
        tooLong.push(`${example.id} (${ids.length})`);
        continue;
      }
      truncated++;
      ids = Int32Array.of(...ids.subarray(0, bos), ...ids.subarray(bos + excess));
      promptLength -= excess;
    }
    prepared.push({
      id: example.id,
      dataset: example.dataset,
      prompt: example.prompt,
      ids,
      promptLength,
      promptIds: ids.slice(bos, promptLength),
    });
  }
  if (tooLong.length > 0) {
    const some = tooLong.slice(0, 3).join(', ') + (tooLong.length > 3 ? ', ...' : '');
    throw new CrayonError(
      'example-too-long',
      `${tooLong.length} of ${examples.length} examples exceed ${maxLength} tokens: ${some}`,
      { hint: 'Use --long truncate to cut the front of their prompts, or --long skip to leave them out.' },
    );
  }
  return { examples: prepared, skipped, truncated };
}
