/**
 * At which tokens llama.cpp ends an answer: those that keys name, and those that it knows by their text
 * (llama-vocab.cpp, `special_eog_ids`), as far as node-llama-cpp goes by it. A model that ends at more tokens than these must be told so beside the file.
 */

import { END_NAMES, FILE_END_NAMES } from '../../hf/chat-tokens.js';
import { type GgufFields, ggufString, ggufStrings } from '../format.js';
import { specialTokenIds } from './special-tokens.js';

/** Keys of what ends a file, in the order of FILE_END_NAMES: a text is looked for only where there is none. */
const FILE_END_KEYS = ['fim_pad', 'fim_rep', 'fim_sep'] as const;

/** What a file that names no EOS has (`llama_vocab::impl::load`). */
const DEFAULT_EOS: Readonly<Record<string, number>> = { llama: 2, gpt2: 11 };

/**
 * Texts that end an answer whatever the keys say, in every llama.cpp of the last years: an export spends no key
 * on them. END_NAMES has those that the llama.cpp of our binding knows besides.
 */
export const KNOWN_ENDS: readonly string[] = [
  ...['<|eot_id|>', '<|im_end|>', '<|end|>', '<end_of_turn>', '<|endoftext|>', '<|eom_id|>', '<EOT>', '_<EOT>'],
  '<|end_of_text|>',
];

/**
 * The ids at which llama.cpp ends an answer of this file, ascending.
 *
 * @throws CrayonError `tokenizer-invalid`, `gguf-invalid` where a key says what it cannot say
 */
export function ggufEndTokenIds(file: GgufFields): number[] {
  const tokens = ggufStrings(file, 'tokenizer.ggml.tokens') ?? [];
  const idOf = new Map(tokens.map((text, id) => [text, id]));
  const named = specialTokenIds(file);
  const ids = new Set<number>();
  const add = (id: number | undefined): void => {
    if (id !== undefined && id < tokens.length) ids.add(id);
  };
  add(named.get('eos') ?? DEFAULT_EOS[ggufString(file, 'tokenizer.ggml.model') ?? '']);
  add(named.get('eot'));
  add(named.get('eom'));
  for (const text of END_NAMES) add(idOf.get(text));
  for (const [i, texts] of FILE_END_NAMES.entries()) {
    add(named.get(FILE_END_KEYS[i]!) ?? texts.map((text) => idOf.get(text)).find((id) => id !== undefined));
  }
  return [...ids].sort((a, b) => a - b);
}
