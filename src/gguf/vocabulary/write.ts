/**
 * A model's tokenizer files as GGUF metadata, so that llama.cpp gives every text the token ids that the model's own
 * tokenizer gives: byte-level BPE becomes a `gpt2` vocabulary, BPE with byte fallback a `llama` (SentencePiece) one.
 */

import { CrayonError } from '../../core/errors.js';
import type { JsonObject } from '../../files/json.js';
import type { ModelConfig } from '../../hf/config.js';
import { chatTemplate, specialToken, type TokenizerFiles } from '../../hf/tokenizer-files.js';
import type { GgufValue } from '../types.js';
import { type BpeModel, bpeModel, TOKEN_TYPE } from './bpe.js';
import { sentencePieceScores, spacePrefix } from './sentencepiece.js';
import { flatten, ggufPreTokenizer } from './splitting.js';

interface AddedToken {
  id: number;
  content: string;
  special: boolean;
}

/**
 * The `tokenizer.*` metadata.
 *
 * @param files the directory's tokenizer files
 * @param config the model's: V tokens are written, the missing ones as unused padding
 * @throws CrayonError `tokenizer-unsupported` naming what llama.cpp cannot do, `tokenizer-invalid`
 */
export function ggufVocabulary(
  files: TokenizerFiles,
  config: Pick<ModelConfig, 'vocabSize' | 'bosTokenId' | 'eosTokenIds'>,
  where: string,
): Map<string, GgufValue> {
  const model = bpeModel(files.tokenizer, where);
  const added = addedTokens(files.tokenizer);
  const metadata = new Map<string, GgufValue>();
  const put = (key: string, value: GgufValue): unknown => metadata.set(`tokenizer.ggml.${key}`, value);
  const isSentencePiece = model.byteFallback;
  put('model', { type: 'string', value: isSentencePiece ? 'llama' : 'gpt2' });
  put('pre', { type: 'string', value: isSentencePiece ? 'default' : ggufPreTokenizer(files.tokenizer, where) });
  if (!isSentencePiece) refuseNormalizer(files.tokenizer, where);
  const { tokens, types } = tokenList(model, added, config.vocabSize, where);
  put('tokens', { type: 'array', of: 'string', value: tokens });
  if (isSentencePiece) {
    put('scores', { type: 'array', of: 'float32', value: sentencePieceScores(model, tokens, types, where) });
  }
  put('token_type', { type: 'array', of: 'int32', value: types });
  if (!isSentencePiece) {
    // A token may contain a space only inside an added token's text; within merges the space separates the halves.
    const merges = model.merges.map((pair) => pair.map((half) => half.replaceAll(' ', '\u0120')).join(' '));
    put('merges', { type: 'array', of: 'string', value: merges });
  }
  const ids = specialIds(files, model, added, config, where);
  for (const [key, id] of ids) put(key, { type: 'uint32', value: id });
  // The post-processor alone decides, as everywhere in crayon; `add_bos_token` is only its author's wish.
  put('add_bos_token', { type: 'bool', value: leadingToken(files, added) === ids.get('bos_token_id') });
  put('add_eos_token', { type: 'bool', value: false }); // a prompt that ends with EOS cannot be continued
  if (isSentencePiece) {
    put('add_space_prefix', { type: 'bool', value: spacePrefix(files.tokenizer, where) });
  }
  const template = chatTemplate(files);
  if (template !== null) metadata.set('tokenizer.chat_template', { type: 'string', value: template });
  return metadata;
}

function addedTokens(tokenizer: JsonObject): AddedToken[] {
  const list = Array.isArray(tokenizer.added_tokens) ? tokenizer.added_tokens : [];
  return list.map(({ id, content, special }) => ({ id, content, special: special === true }));
}

/** llama.cpp does not normalise; Qwen's NFC changes only decomposed characters, and its converter leaves it out too. */
function refuseNormalizer(tokenizer: JsonObject, where: string): void {
  const found = flatten(tokenizer.normalizer, 'normalizers').filter(({ type }) => type !== 'NFC');
  if (found.length === 0) return;
  const shown = found.map((part) => JSON.stringify(part)).join(', ');
  throw new CrayonError('tokenizer-unsupported', `${where}: normalizer ${shown} cannot be written as GGUF`, {
    hint: 'llama.cpp does not normalise text, so its token ids would differ.',
  });
}

/** All V tokens with their types, in order of their ids. */
function tokenList({ vocab, unkToken, byteFallback }: BpeModel, added: AddedToken[], size: number, where: string) {
  const tokens = new Array<string>(size);
  const types = new Array<number>(size);
  const set = (id: number, text: string, type: number): void => {
    if (!Number.isSafeInteger(id) || id < 0 || id >= size) {
      throw new CrayonError(
        'tokenizer-invalid',
        `${where}: token ${JSON.stringify(text)} has id ${id}, expected below the model's vocabulary of ${size}`,
        { hint: 'The tokenizer does not belong to this model.' },
      );
    }
    tokens[id] = text;
    types[id] = type;
  };
  for (const [text, id] of Object.entries(vocab)) {
    const isByte = byteFallback && /^<0x[0-9A-Fa-f]{2}>$/.test(text);
    const isUnknown = byteFallback && text === unkToken;
    set(id, text, isByte ? TOKEN_TYPE.byte : isUnknown ? TOKEN_TYPE.unknown : TOKEN_TYPE.normal);
  }
  for (const { id, content, special } of added) {
    if (byteFallback && content === unkToken) set(id, content, TOKEN_TYPE.unknown);
    else if (special || looksSpecial(content)) set(id, content, TOKEN_TYPE.control);
    else set(id, content, TOKEN_TYPE.userDefined);
  }
  // llama.cpp ends the process when two tokens have the same text, so padding must not meet a real "[PAD7]".
  const seen = new Set<string>();
  for (let id = 0; id < size; id++) {
    if (tokens[id] === undefined) {
      let text = `[PAD${id}]`;
      while (Object.hasOwn(vocab, text) || seen.has(text)) text = `[${text}]`;
      set(id, text, TOKEN_TYPE.unused);
    }
    if (seen.has(tokens[id]!)) {
      throw new CrayonError('tokenizer-invalid', `${where}: two tokens have the text ${JSON.stringify(tokens[id])}`);
    }
    seen.add(tokens[id]!);
  }
  return { tokens, types };
}

/** Added tokens that their authors forgot to mark as special, by the converter's rule (`does_token_look_special`). */
function looksSpecial(text: string): boolean {
  return (
    ['<pad>', '<mask>', '<2mass>', '[@BOS@]'].includes(text) ||
    /^<\|.*\|>$/su.test(text) ||
    /^<｜.*｜>$/su.test(text) ||
    /^<unused.*>$/su.test(text)
  );
}

/** What llama.cpp takes for an end of the answer by its text alone. */
const KNOWN_ENDS = ['<|eot_id|>', '<|im_end|>', '<|end|>', '<end_of_turn>', '<|endoftext|>', '<|end_of_text|>'];

function specialIds(
  files: TokenizerFiles,
  model: BpeModel,
  added: AddedToken[],
  config: Pick<ModelConfig, 'bosTokenId' | 'eosTokenIds' | 'vocabSize'>,
  where: string,
): Map<string, number> {
  const idOf = (text: string | null): number | null => {
    if (text === null) return null;
    return added.find(({ content }) => content === text)?.id ?? model.vocab[text] ?? null;
  };
  const named = (name: string): number | null => idOf(specialToken(files, name));
  const eos = named('eos_token') ?? config.eosTokenIds[0] ?? null;
  if (eos === null) {
    // Left out, llama.cpp would take token 11, or 2, for the end of the answer.
    throw new CrayonError('tokenizer-unsupported', `${where}: no eos_token in tokenizer_config.json or config.json`, {
      hint: 'Name the token that ends an answer as eos_token in tokenizer_config.json.',
    });
  }
  const ids = new Map<string, number>();
  ids.set('bos_token_id', named('bos_token') ?? leadingToken(files, added) ?? config.bosTokenId ?? eos);
  ids.set('eos_token_id', eos);
  const otherEnd = config.eosTokenIds.find((id) => id !== eos);
  if (otherEnd !== undefined && !KNOWN_ENDS.some((text) => idOf(text) === otherEnd)) ids.set('eot_token_id', otherEnd);
  const unknown = named('unk_token') ?? idOf(model.unkToken);
  if (unknown !== null) ids.set('unknown_token_id', unknown);
  const padding = named('pad_token');
  if (padding !== null) ids.set('padding_token_id', padding);
  for (const [key, id] of ids) {
    if (id < config.vocabSize) continue;
    throw new CrayonError('tokenizer-invalid', `${where}: ${key} is ${id}, expected below ${config.vocabSize}`);
  }
  return ids;
}

/** The special token that the post-processor puts before every text, or null. */
function leadingToken({ tokenizer }: TokenizerFiles, added: AddedToken[]): number | null {
  for (const step of flatten(tokenizer.post_processor, 'processors')) {
    if (step.type !== 'TemplateProcessing' || !Array.isArray(step.single)) continue;
    const text = step.single[0]?.SpecialToken?.id;
    const token = added.find(({ content }) => content === text);
    if (token !== undefined) return token.id;
  }
  return null;
}
