/**
 * At which tokens llama.cpp ends an answer: those that three keys name, and those that it knows by their text
 * (llama-vocab.cpp, `special_eog_ids`), as far as node-llama-cpp goes by it. A model that ends at more tokens than these must be told so beside the file.
 */

import { END_NAMES, FILE_END_NAMES } from '../../hf/chat-tokens.js';
import { type GgufFields, ggufNumber, ggufString, ggufStrings } from '../format.js';

/** The keys, in the order in which an export fills them. */
export const END_KEYS = ['eos_token_id', 'eot_token_id', 'eom_token_id'] as const;

/** What a file without the first key has (`llama_vocab::impl::load`). */
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
 * @throws CrayonError `gguf-invalid` where a key is of another type than it should be
 */
export function ggufEndTokenIds(file: GgufFields): number[] {
  const tokens = ggufStrings(file, 'tokenizer.ggml.tokens') ?? [];
  const idOf = new Map(tokens.map((text, id) => [text, id]));
  const ids = new Set<number>();
  const add = (id: number | undefined): void => {
    if (id !== undefined && Number.isInteger(id) && id >= 0 && id < tokens.length) ids.add(id);
  };
  for (const key of END_KEYS) add(ggufNumber(file, `tokenizer.ggml.${key}`));
  if (ggufNumber(file, 'tokenizer.ggml.eos_token_id') === undefined) {
    add(DEFAULT_EOS[ggufString(file, 'tokenizer.ggml.model') ?? '']);
  }
  for (const text of END_NAMES) add(idOf.get(text));
  for (const texts of FILE_END_NAMES) add(texts.map((text) => idOf.get(text)).find((id) => id !== undefined));
  return [...ids].sort((a, b) => a - b);
}
