/**
 * Token ids of a training or scoring example, cut between prompt and completion as lm-evaluation-harness does
 * (`lm_eval/api/model.py`, `_encode_pair`).
 */

import { CrayonError } from '../core/errors.js';
import type { Tokenizer } from './tokenizer.js';

export interface EncodedExample {
  ids: Int32Array;
  /** Tokens of the prompt, BOS included; the completion's tokens are the rest. At least 1. */
  promptLength: number;
}

export interface EncodeOptions {
  /** End with EOS, as training wants. */
  addEos?: boolean;
  /** Cut a long prompt at its start, after BOS, instead of refusing the example. The completion is never cut. */
  truncatePrompt?: boolean;
}

/**
 * Encodes an example. Prompt and completion are encoded together, because a tokenizer may join characters across the
 * border; the prompt's share is what the prompt alone gives. White space at the prompt's end belongs to the completion.
 *
 * @param maxLength most tokens in all
 * @throws CrayonError `example-too-long`, or `example-invalid` when the completion has no token of its own
 */
export function encodeExample(
  tokenizer: Tokenizer,
  example: { id: string; prompt: string; completion: string },
  maxLength: number,
  { addEos = false, truncatePrompt = false }: EncodeOptions = {},
): EncodedExample {
  const context = example.prompt.trimEnd();
  const prompt = tokenizer.encode(context);
  const ids = tokenizer.encode(example.prompt + example.completion);
  if (prompt.length === 0) {
    // Without BOS an empty prompt leaves nothing to predict the first token from; lm-eval puts a special token there.
    const start = tokenizer.bosId ?? tokenizer.eosId;
    if (start === null) throw new CrayonError('example-invalid', `${example.id}: the prompt has no tokens`);
    prompt.push(start);
    ids.unshift(start);
  }
  if (ids.length <= prompt.length) {
    throw new CrayonError(
      'example-invalid',
      `${example.id}: completion ${JSON.stringify(example.completion)} adds no token`,
    );
  }
  if (addEos) {
    if (tokenizer.eosId === null)
      throw new CrayonError('tokenizer-unsupported', 'EOS wanted, but there is no eos_token');
    ids.push(tokenizer.eosId);
  }
  const excess = ids.length - maxLength;
  if (excess <= 0) return { ids: Int32Array.from(ids), promptLength: prompt.length };

  const first = tokenizer.addsBos ? 1 : 0;
  // At least one token of the prompt stays, so that there is something to predict from.
  if (!truncatePrompt || excess > prompt.length - Math.max(first, 1)) {
    throw new CrayonError('example-too-long', `${example.id}: ${ids.length} tokens, expected at most ${maxLength}`, {
      hint: 'Raise the maximal length, or shorten the example.',
    });
  }
  ids.splice(first, excess);
  return { ids: Int32Array.from(ids), promptLength: prompt.length - excess };
}
