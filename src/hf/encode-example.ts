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

/**
 * Encodes an example. Prompt and completion are encoded together, because a tokenizer may join characters across the
 * border; the prompt's share is what the prompt alone gives. White space at the prompt's end belongs to the completion.
 *
 * @param options.addEos end with EOS, as training wants
 * @throws CrayonError `example-invalid` when the completion has no token of its own
 */
export function encodeExample(
  tokenizer: Tokenizer,
  example: { id: string; prompt: string; completion: string },
  { addEos = false }: { addEos?: boolean } = {},
): EncodedExample {
  const prompt = tokenizer.encode(example.prompt.trimEnd());
  const ids = tokenizer.encode(example.prompt + example.completion);
  if (prompt.length === 0) {
    // Without BOS an empty prompt leaves nothing to predict the first token from; lm-eval puts a special token there.
    const start = tokenizer.bosId ?? tokenizer.eosId;
    if (start === null) throw new CrayonError('example-invalid', `${example.id}: the prompt has no tokens`);
    prompt.push(start);
    ids.unshift(start);
  }
  if (ids.length <= prompt.length) {
    const completion = JSON.stringify(example.completion);
    throw new CrayonError('example-invalid', `${example.id}: completion ${completion} adds no token to the prompt`);
  }
  if (addEos) {
    if (tokenizer.eosId === null)
      throw new CrayonError('tokenizer-unsupported', 'EOS wanted, but there is no eos_token');
    ids.push(tokenizer.eosId);
  }
  return { ids: Int32Array.from(ids), promptLength: prompt.length };
}
