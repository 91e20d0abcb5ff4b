/**
 * The tokenizer of a GGUF file, the same as llama.cpp's own: SentencePiece vocabularies by score (spm.ts), byte-level BPE
 * as a tokenizer.json for @huggingface/tokenizers.
 */

import type { JsonObject } from '../../files/json.js';
import { chatRenderer, createTokenizer, requireBos, type Tokenizer } from '../../hf/tokenizer.js';
import type { GgufFields } from '../format.js';
import { type GgufVocabulary, readGgufVocabulary } from './read.js';
import { spmCodec } from './spm.js';

/**
 * The tokenizer of an open GGUF file, or of a header's metadata alone; `path` names it in errors.
 *
 * @throws CrayonError `tokenizer-unsupported` naming the model or pre-tokenizer, `tokenizer-invalid`
 *
 * @example
 * const file = GgufFile.open('model.gguf');
 * const tokenizer = ggufTokenizer(file);
 * tokenizer.encode('Once upon a time', { addBos: false });
 */
export function ggufTokenizer(file: GgufFields): Tokenizer {
  const vocabulary = readGgufVocabulary(file);
  return vocabulary.model === 'llama' ? spmTokenizer(vocabulary, file.path) : bpeTokenizer(vocabulary, file.path);
}

function spmTokenizer(vocabulary: GgufVocabulary, where: string): Tokenizer {
  const { tokens, bosId, eosId, addsBos, chatTemplate } = vocabulary;
  const codec = spmCodec(vocabulary);
  const names = specialNames(vocabulary);
  return {
    vocabSize: tokens.length,
    bosId,
    eosId,
    addsBos,
    encode(text, { addBos = addsBos } = {}) {
      const ids = codec.encode(text);
      return addBos ? [requireBos(bosId, where), ...ids] : ids;
    },
    decode: (ids, { keepSpecial = false } = {}) => codec.decode(ids, keepSpecial),
    renderChat: chatTemplate === null ? null : chatRenderer(chatTemplate, (name) => names[name] ?? null, where),
  };
}

function bpeTokenizer(vocabulary: GgufVocabulary, where: string): Tokenizer {
  const { addsBos, chatTemplate } = vocabulary;
  const config = { ...specialNames(vocabulary), clean_up_tokenization_spaces: false };
  const files = { tokenizer: bpeJson(vocabulary), config, specialTokens: {}, chatTemplate };
  return createTokenizer(files, where, addsBos);
}

/** tokenizer.json of a byte-level BPE vocabulary. */
function bpeJson(vocabulary: GgufVocabulary): JsonObject {
  const { tokens, merges, pre, control, special, stripsRight } = vocabulary;
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false };
  const splits = pre!.expressions.map((expression) => {
    return { type: 'Split', pattern: { Regex: expression }, behavior: 'Isolated', invert: false };
  });
  return {
    version: '1.0',
    added_tokens: special.map((id) => ({
      id,
      content: tokens[id]!,
      single_word: false,
      lstrip: false,
      rstrip: stripsRight.has(id),
      normalized: false,
      special: control.has(id),
    })),
    normalizer: null,
    pre_tokenizer: { type: 'Sequence', pretokenizers: [...splits, byteLevel] },
    post_processor: null,
    decoder: byteLevel,
    model: {
      type: 'BPE',
      unk_token: null,
      byte_fallback: false,
      ignore_merges: pre!.ignoreMerges,
      vocab: Object.fromEntries(tokens.map((text, id) => [text, id])),
      merges: merges.map(([left, right]) => [left, right]),
    },
  };
}

/** Texts of the special tokens under their names in tokenizer_config.json, which chat templates use. */
function specialNames({ tokens, bosId, eosId, unknownId, padId }: GgufVocabulary): Record<string, string> {
  const ids = { bos_token: bosId, eos_token: eosId, unk_token: unknownId, pad_token: padId };
  const known = Object.entries(ids).filter((entry): entry is [string, number] => entry[1] !== null);
  return Object.fromEntries(known.map(([name, id]) => [name, tokens[id]!]));
}
