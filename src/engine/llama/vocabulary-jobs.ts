/** llama.cpp's tokenizer over a model's vocabulary alone, in a process of its own: for texts that would stop a server's event loop. */

import { loadLlama, loadVocabulary } from './runtime.js';

/** @param path a GGUF file */
export async function open(path: string) {
  const model = await loadVocabulary(await loadLlama(false), path);
  return {
    tokenize: ({ text, special }: { text: string; special: boolean }) =>
      Uint32Array.from(model.tokenize(text, special)),
  };
}
