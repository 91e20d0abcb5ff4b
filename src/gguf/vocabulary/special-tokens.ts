/**
 * The special tokens that a GGUF file names by their ids (`special_token_types` in llama-vocab.cpp), each checked against its
 * vocabulary in this one place: for training, scoring and embedding as for the engine that serves.
 */

import { CrayonError } from '../../core/errors.js';
import { type GgufFields, ggufNumber, ggufStrings } from '../format.js';

/** The tokens by the words of their keys, `tokenizer.ggml.<word>_token_id`; the separator's is spelled as llama.cpp does. */
export const SPECIAL_TOKENS = [
  ...(['bos', 'eos', 'eot', 'eom', 'unknown', 'padding', 'seperator', 'mask'] as const),
  ...(['fim_pre', 'fim_suf', 'fim_mid', 'fim_pad', 'fim_rep', 'fim_sep', 'prefix', 'suffix', 'middle'] as const),
];
export type SpecialToken = (typeof SPECIAL_TOKENS)[number];

/** Tokens that decide what a model reads and where its answer ends. */
const DECIDING: ReadonlySet<SpecialToken> = new Set(['bos', 'eos', 'eot', 'eom', 'unknown']);

/** What a file says of a token, whether there is such an id or not. @throws CrayonError `gguf-invalid` for what is no number */
export function namedTokenId(file: GgufFields, token: SpecialToken): number | undefined {
  return ggufNumber(file, `tokenizer.ggml.${token}_token_id`);
}

/**
 * The ids of the tokens that a file names.
 *
 * llama.cpp takes another token for one that lies outside the vocabulary, EOS 2 or 11 for instance, and answers then go on. Of the
 * others one outside is no token, as there: files without padding have -1 there.
 *
 * @throws CrayonError `tokenizer-invalid` for one that decides something, `gguf-invalid` for what is no number
 */
export function specialTokenIds(file: GgufFields): Map<SpecialToken, number> {
  const size = ggufStrings(file, 'tokenizer.ggml.tokens')?.length || Number.POSITIVE_INFINITY; // none: a file without a vocabulary
  const ids = new Map<SpecialToken, number>();
  for (const token of SPECIAL_TOKENS) {
    const id = namedTokenId(file, token);
    if (id === undefined) continue;
    if (Number.isInteger(id) && id >= 0 && id < size) ids.set(token, id);
    else if (DECIDING.has(token)) {
      const problem = `tokenizer.ggml.${token}_token_id is ${id}, expected 0 to ${size - 1}`;
      throw new CrayonError('tokenizer-invalid', `${file.path}: ${problem}`, {
        hint: 'The file was made from another vocabulary than it holds: convert the model again.',
      });
    }
  }
  return ids;
}
