/**
 * A model's tokenizer files as GGUF metadata, so that llama.cpp gives every text the token ids that the model's own
 * tokenizer gives: byte-level BPE becomes a `gpt2` vocabulary, BPE with byte fallback a `llama` (SentencePiece) one.
 */

import { CrayonError } from '../../core/errors.js';
import { isJsonObject, type JsonObject } from '../../files/json.js';
import { looksSpecial } from '../../hf/chat-tokens.js';
import type { ModelConfig } from '../../hf/config.js';
import { chatTemplate, specialToken, type TokenizerFiles } from '../../hf/tokenizer.js';
import { type GgufValue, TOKEN_TYPE } from '../format.js';
import { KNOWN_ENDS } from './end-tokens.js';
import { flatten, ggufPreTokenizer } from './pre-tokenizers.js';

interface AddedToken {
  id: number;
  content: string;
  special: boolean;
}

/** What a vocabulary needs of its model. */
export interface VocabularyConfig extends Pick<ModelConfig, 'vocabSize' | 'bosTokenId'> {
  /** every token at which an answer ends (`HfModel.endTokenIds`) */
  endTokenIds: readonly number[];
}

/**
 * The `tokenizer.*` metadata.
 *
 * @param files the directory's tokenizer files
 * @param config the model's: V tokens are written, the missing ones as unused padding
 * @throws CrayonError `tokenizer-unsupported` naming what llama.cpp cannot do, `tokenizer-invalid`
 */
export function ggufVocabulary(files: TokenizerFiles, config: VocabularyConfig, where: string): Map<string, GgufValue> {
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

function specialIds(
  files: TokenizerFiles,
  model: BpeModel,
  added: AddedToken[],
  config: VocabularyConfig,
  where: string,
): Map<string, number> {
  const idOf = (text: string | null): number | null => {
    if (text === null) return null;
    return added.find(({ content }) => content === text)?.id ?? model.vocab[text] ?? null;
  };
  const named = (name: string): number | null => idOf(specialToken(files, name));
  const eos = named('eos_token') ?? config.endTokenIds[0] ?? null;
  if (eos === null) {
    // Left out, llama.cpp would take token 11, or 2, for the end of the answer.
    throw new CrayonError('tokenizer-unsupported', `${where}: no eos_token in tokenizer_config.json or config.json`, {
      hint: 'Name the token that ends an answer as eos_token in tokenizer_config.json.',
    });
  }
  const ids = new Map<string, number>();
  ids.set('bos_token_id', named('bos_token') ?? leadingToken(files, added) ?? config.bosTokenId ?? eos);
  ids.set('eos_token_id', eos);
  // Of the others, those that llama.cpp does not know by their text have two keys; `unheldEndTokens` says which have none.
  const known = KNOWN_ENDS.map(idOf);
  const [eot, eom] = config.endTokenIds.filter((id) => id !== eos && !known.includes(id));
  if (eot !== undefined) ids.set('eot_token_id', eot);
  if (eom !== undefined) ids.set('eom_token_id', eom);
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

/** The BPE model inside a tokenizer.json, checked and in one form. */
export interface BpeModel {
  vocab: Record<string, number>;
  merges: Array<[string, string]>;
  unkToken: string | null;
  byteFallback: boolean;
}

/** @throws CrayonError `tokenizer-unsupported` for another kind of model, `tokenizer-invalid` */
function bpeModel(tokenizer: JsonObject, where: string): BpeModel {
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

/**
 * BPE with byte fallback (Llama 2, Mistral) as a SentencePiece vocabulary: llama.cpp merges whichever neighbours form the
 * token with the best score, Hugging Face merges by the rank of the pair. The two are the same where every way to put a
 * token together is a merge, and all merges that form one token follow each other: which is checked.
 */

/** Below every merged token: llama.cpp never forms these by merging where the checks hold. */
const UNMERGED_SCORE = -1e6;

/**
 * One score a token: minus its place among the merged tokens.
 *
 * @throws CrayonError `tokenizer-unsupported` when scores cannot express the merges, with an example
 */
function sentencePieceScores(
  { merges, vocab }: BpeModel,
  tokens: readonly string[],
  types: readonly number[],
  where: string,
): number[] {
  const refuse = (what: string): never => {
    throw new CrayonError('tokenizer-unsupported', `${where}: ${what}, so llama.cpp would give other token ids`, {
      hint: 'No GGUF can be written for this tokenizer.',
    });
  };
  const placeOf = new Map<string, number>();
  const pairs = new Set<string>();
  let last: string | undefined;
  for (const [left, right] of merges) {
    const merged = left + right;
    pairs.add(`${left} ${right}`);
    if (merged !== last && placeOf.has(merged)) refuse(`the merges that form ${JSON.stringify(merged)} lie apart`);
    if (!placeOf.has(merged)) placeOf.set(merged, placeOf.size);
    last = merged;
  }
  for (const [id, token] of tokens.entries()) {
    if (types[id] !== TOKEN_TYPE.normal) continue;
    const characters = [...token];
    let left = '';
    for (const character of characters.slice(0, -1)) {
      left += character;
      const right = token.slice(left.length);
      if (!Object.hasOwn(vocab, left) || !Object.hasOwn(vocab, right) || pairs.has(`${left} ${right}`)) continue;
      refuse(`${JSON.stringify(token)} is not merged from ${JSON.stringify(left)} and ${JSON.stringify(right)}`);
    }
  }
  return tokens.map((token, id) => {
    const place = types[id] === TOKEN_TYPE.normal ? placeOf.get(token) : undefined;
    return place === undefined ? UNMERGED_SCORE : -place;
  });
}

/**
 * Whether every text starts with a space of its own (`▁`).
 *
 * @throws CrayonError `tokenizer-unsupported` for a normalizer or pre-tokenizer that llama.cpp does not have
 */
function spacePrefix(tokenizer: JsonObject, where: string): boolean {
  let prefix = false;
  let escapes = false;
  const unknown: string[] = [];
  for (const step of [
    ...flatten(tokenizer.normalizer, 'normalizers'),
    ...flatten(tokenizer.pre_tokenizer, 'pretokenizers'),
  ]) {
    const pattern = (step.pattern as JsonObject | undefined)?.String;
    if (step.type === 'Prepend' && step.prepend === '▁') prefix = true;
    else if (step.type === 'Replace' && pattern === ' ' && step.content === '▁') escapes = true;
    // Gemma's: splits at spaces, of which none is left
    else if (step.type === 'Split' && pattern === ' ' && escapes) continue;
    else if (step.type === 'Metaspace' && (step.replacement ?? '▁') === '▁' && step.split !== true) {
      escapes = true;
      prefix = step.prepend_scheme === undefined ? step.add_prefix_space !== false : step.prepend_scheme !== 'never';
    } else unknown.push(JSON.stringify(step));
  }
  if (unknown.length === 0 && escapes) return prefix;
  const shown = unknown.length === 0 ? 'spaces that are not replaced by ▁' : unknown.join(', ');
  throw new CrayonError('tokenizer-unsupported', `${where}: ${shown} cannot be written as GGUF`, {
    hint: 'llama.cpp would give other token ids.',
  });
}
