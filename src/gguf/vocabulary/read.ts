/**
 * A GGUF file's vocabulary, checked: tokens, their kinds, special ids, and the flags that llama.cpp goes by
 * (llama-vocab.cpp, `llama_vocab::impl::load`).
 */

import { CrayonError } from '../../core/errors.js';
import { ggufBool, ggufNumber, ggufNumbers, ggufString, ggufStrings } from '../metadata.js';
import type { GgufMetadata } from '../types.js';
import { TOKEN_TYPE } from './bpe.js';
import { PRE_TOKENIZERS, type PreTokenizer, preTokenizer } from './expressions.js';

export interface GgufVocabulary {
  /** `llama`: SentencePiece pieces with scores; `gpt2`: byte-level BPE with merges */
  model: 'llama' | 'gpt2';
  /** text of each token, by id; no text occurs twice */
  tokens: readonly string[];
  /** `llama` only: larger merges first */
  scores: readonly number[];
  /** `gpt2` only */
  merges: ReadonlyArray<readonly [left: string, right: string]>;
  /** `gpt2` only */
  pre: PreTokenizer | null;
  /** ids of tokens that are no text: left out when decoding */
  control: ReadonlySet<number>;
  /** ids of tokens that are found in a text before anything else: control, unknown and user-defined ones */
  special: readonly number[];
  /** those of them after which spaces are swallowed */
  stripsRight: ReadonlySet<number>;
  bosId: number | null;
  eosId: number | null;
  unknownId: number | null;
  padId: number | null;
  addsBos: boolean;
  /** `llama` only: a space is put before the first word */
  addSpacePrefix: boolean;
  chatTemplate: string | null;
}

/** @throws CrayonError `tokenizer-unsupported` naming the model or pre-tokenizer, `tokenizer-invalid`, `gguf-invalid` */
export function readGgufVocabulary(metadata: GgufMetadata, path: string): GgufVocabulary {
  const model = vocabularyModel(metadata, path);
  const tokens = tokenTexts(metadata, path);
  const pre = model === 'gpt2' ? readPreTokenizer(metadata, path) : null;
  const isSpm = model === 'llama';
  const id = (name: string, fallback: number | null): number | null =>
    readId(metadata, name, tokens.length, fallback, path);

  const bosId = id('bos', isSpm ? 1 : null);
  const eosId = id('eos', isSpm ? 2 : null);
  const unknownId = id('unknown', isSpm ? 0 : null);
  const types = perToken(metadata, 'token_type', tokens.length, path) ?? [];
  const addsBos = ggufBool(metadata, 'tokenizer.ggml.add_bos_token', path) ?? pre?.addsBos ?? true;
  if (addsBos && bosId === null) {
    throw invalid(path, 'tokenizer.ggml.add_bos_token is true, but there is no bos_token_id');
  }
  // Some files call every token a normal one, the end of a text too.
  const control = new Set(
    [...tokens.keys()].filter((i) => types[i] === TOKEN_TYPE.control || types[i] === TOKEN_TYPE.unknown),
  );
  for (const known of [bosId, eosId, unknownId]) if (known !== null) control.add(known);
  const special = [...tokens.keys()].filter((i) => control.has(i) || types[i] === TOKEN_TYPE.userDefined);
  return {
    model,
    tokens,
    scores: isSpm ? pieceScores(metadata, tokens.length, path) : [],
    merges: isSpm ? [] : readMerges(metadata, path),
    pre,
    control,
    special,
    stripsRight: rightStripping(metadata, tokens, special, path),
    bosId,
    eosId,
    unknownId,
    padId: id('padding', null),
    addsBos,
    addSpacePrefix: isSpm && (ggufBool(metadata, 'tokenizer.ggml.add_space_prefix', path) ?? true),
    chatTemplate: ggufString(metadata, 'tokenizer.chat_template', path) ?? null,
  };
}

function vocabularyModel(metadata: GgufMetadata, path: string): 'llama' | 'gpt2' {
  const model = ggufString(metadata, 'tokenizer.ggml.model', path);
  if (model === 'llama' || model === 'gpt2') return model;
  const found = model === undefined ? 'has no tokenizer.ggml.model' : `tokenizer model "${model}"`;
  throw new CrayonError('tokenizer-unsupported', `${path}: ${found}, expected llama or gpt2`, {
    hint: 'SentencePiece BPE (llama) and byte-level BPE (gpt2) vocabularies are read.',
  });
}

function tokenTexts(metadata: GgufMetadata, path: string): readonly string[] {
  const given = ggufStrings(metadata, 'tokenizer.ggml.tokens', path);
  if (given === undefined || given.length === 0) throw invalid(path, 'tokenizer.ggml.tokens is missing or empty');
  const tokens = given.map((text, i) => (text === '' ? `[EMPTY_${i}]` : text)); // llama.cpp's own name for it
  const seen = new Set<string>();
  for (const [i, text] of tokens.entries()) {
    if (seen.has(text)) throw invalid(path, `token ${JSON.stringify(text)} occurs twice, the second time as ${i}`);
    seen.add(text);
  }
  return tokens;
}

function readPreTokenizer(metadata: GgufMetadata, path: string): PreTokenizer {
  const name = ggufString(metadata, 'tokenizer.ggml.pre', path) ?? 'default';
  const pre = preTokenizer(name);
  if (pre !== undefined) return pre;
  throw new CrayonError('tokenizer-unsupported', `${path}: pre-tokenizer ${JSON.stringify(name)} is unknown`, {
    hint: `Known are ${PRE_TOKENIZERS.join(', ')}.`,
  });
}

function readId(
  metadata: GgufMetadata,
  name: string,
  size: number,
  fallback: number | null,
  path: string,
): number | null {
  const key = `tokenizer.ggml.${name}_token_id`;
  const id = ggufNumber(metadata, key, path);
  if (id === undefined) return fallback !== null && fallback < size ? fallback : null;
  if (Number.isInteger(id) && id >= 0 && id < size) return id;
  throw invalid(path, `${key} is ${id}, expected 0 to ${size - 1}`);
}

function perToken(metadata: GgufMetadata, name: string, size: number, path: string): readonly number[] | undefined {
  const values = ggufNumbers(metadata, `tokenizer.ggml.${name}`, path);
  if (values === undefined || values.length === size) return values;
  throw invalid(path, `tokenizer.ggml.${name} has ${values.length} entries, expected ${size}, one for each token`);
}

function pieceScores(metadata: GgufMetadata, size: number, path: string): readonly number[] {
  const scores = perToken(metadata, 'scores', size, path);
  if (scores === undefined) throw invalid(path, 'tokenizer.ggml.scores is missing');
  if (scores.some((score) => Number.isNaN(score))) throw invalid(path, 'tokenizer.ggml.scores has NaN');
  return scores;
}

function readMerges(metadata: GgufMetadata, path: string): Array<[string, string]> {
  const merges = ggufStrings(metadata, 'tokenizer.ggml.merges', path);
  if (merges === undefined) throw invalid(path, 'tokenizer.ggml.merges is missing');
  return merges.map((merge) => {
    const space = merge.indexOf(' ', 1);
    if (space === -1) throw invalid(path, `merge ${JSON.stringify(merge)}, expected two tokens and a space`);
    return [merge.slice(0, space), merge.slice(space + 1)];
  });
}

/** llama.cpp knows by the model's name that Phi-3's special tokens swallow the spaces after them. */
function rightStripping(
  metadata: GgufMetadata,
  tokens: readonly string[],
  special: readonly number[],
  path: string,
): ReadonlySet<number> {
  const name = (ggufString(metadata, 'general.name', path) ?? '').toLowerCase();
  if (!name.includes('phi-3') && !name.includes('phi3')) return new Set();
  return new Set(special.filter((id) => !['<unk>', '<s>', '<|endoftext|>'].includes(tokens[id]!)));
}

function invalid(path: string, problem: string): CrayonError {
  return new CrayonError('tokenizer-invalid', `${path}: ${problem}`);
}
