/** The BPE model inside a tokenizer.json, checked and in one form. */

import { CrayonError } from '../../core/errors.js';
import { isJsonObject, type JsonObject } from '../../files/json.js';

/** `llama_token_type` in llama.h. */
export const TOKEN_TYPE = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const;

export interface BpeModel {
  vocab: Record<string, number>;
  merges: Array<[string, string]>;
  unkToken: string | null;
  byteFallback: boolean;
}

/** @throws CrayonError `tokenizer-unsupported` for another kind of model, `tokenizer-invalid` */
export function bpeModel(tokenizer: JsonObject, where: string): BpeModel {
  const { model } = tokenizer;
  const refuse = (what: string): never => {
    throw new CrayonError('tokenizer-unsupported', `${where}: ${what} cannot be written as GGUF`, {
      hint: 'Byte-level BPE and BPE with byte fallback can.',
    });
  };
  if (!isJsonObject(model) || !isJsonObject(model.vocab)) {
    throw new CrayonError('tokenizer-invalid', `${where}: tokenizer.json has no model with a vocabulary`);
  }
  const type = model.type ?? 'BPE';
  if (type !== 'BPE') refuse(`a tokenizer of type ${JSON.stringify(type)}`);
  for (const key of ['continuing_subword_prefix', 'end_of_word_suffix'] as const) {
    if (typeof model[key] === 'string' && model[key] !== '') refuse(`${key} ${JSON.stringify(model[key])}`);
  }
  const merges = Array.isArray(model.merges) ? model.merges : [];
  return {
    vocab: model.vocab as Record<string, number>,
    merges: merges.map((merge): [string, string] => {
      // Old files separate the halves by the only space, new ones give two texts.
      const halves = typeof merge === 'string' ? merge.split(' ') : merge;
      if (Array.isArray(halves) && halves.length === 2 && halves.every((half) => typeof half === 'string')) {
        return halves as [string, string];
      }
      throw new CrayonError('tokenizer-invalid', `${where}: merge ${JSON.stringify(merge)}, expected two tokens`);
    }),
    unkToken: typeof model.unk_token === 'string' ? model.unk_token : null,
    byteFallback: model.byte_fallback === true,
  };
}
