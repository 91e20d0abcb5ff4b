/**
 * A GGUF file's vocabulary, checked: tokens, their kinds, special ids, and the flags that llama.cpp goes by
 * (llama-vocab.cpp, `llama_vocab::impl::load`).
 */

import { CrayonError } from '../../core/errors.js';
import { isControlName } from '../../hf/chat-tokens.js';
import { type GgufFields, ggufBool, ggufNumbers, ggufString, ggufStrings, TOKEN_TYPE } from '../format.js';
import { PRE_TOKENIZERS, type PreTokenizer } from './pre-tokenizers.js';
import { type SpecialToken, specialTokenIds } from './special-tokens.js';

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
export function readGgufVocabulary(file: GgufFields): GgufVocabulary {
  const model = vocabularyModel(file);
  const tokens = tokenTexts(file);
  const pre = model === 'gpt2' ? readPreTokenizer(file) : null;
  const isSpm = model === 'llama';
  const ids = specialTokenIds(file);
  /** @param spm what SentencePiece's vocabularies have where the file does not say */
  const id = (name: SpecialToken, spm: number): number | null =>
    ids.get(name) ?? (isSpm && spm < tokens.length ? spm : null);

  const bosId = id('bos', 1);
  const eosId = id('eos', 2);
  const unknownId = id('unknown', 0);
  const types = perToken(file, 'token_type', tokens.length) ?? [];
  const addsBos = ggufBool(file, 'tokenizer.ggml.add_bos_token') ?? pre?.addsBos ?? true;
  if (addsBos && bosId === null) {
    throw invalid(file, 'tokenizer.ggml.add_bos_token is true, but there is no bos_token_id');
  }
  // Some files call every token a normal one, the end of a text too.
  const control = new Set(
    [...tokens.keys()].filter(
      (i) => types[i] === TOKEN_TYPE.control || types[i] === TOKEN_TYPE.unknown || isControlName(tokens[i]!),
    ),
  );
  for (const known of [bosId, eosId, unknownId]) if (known !== null) control.add(known);
  const special = [...tokens.keys()].filter((i) => control.has(i) || types[i] === TOKEN_TYPE.userDefined);
  return {
    model,
    tokens,
    scores: isSpm ? pieceScores(file, tokens.length) : [],
    merges: isSpm ? [] : readMerges(file),
    pre,
    control,
    special,
    stripsRight: new Set(swallowsSpaces(file) ? special.filter((i) => !KEEPS_SPACES.includes(tokens[i]!)) : []),
    bosId,
    eosId,
    unknownId,
    padId: ids.get('padding') ?? null,
    addsBos,
    addSpacePrefix: isSpm && (ggufBool(file, 'tokenizer.ggml.add_space_prefix') ?? true),
    chatTemplate: ggufString(file, 'tokenizer.chat_template') ?? null,
  };
}

function vocabularyModel(file: GgufFields): 'llama' | 'gpt2' {
  const model = ggufString(file, 'tokenizer.ggml.model');
  if (model === 'llama' || model === 'gpt2') return model;
  const found = model === undefined ? 'has no tokenizer.ggml.model' : `tokenizer model "${model}"`;
  throw new CrayonError('tokenizer-unsupported', `${file.path}: ${found}, expected llama or gpt2`, {
    hint: 'SentencePiece BPE (llama) and byte-level BPE (gpt2) vocabularies are read.',
  });
}

function tokenTexts(file: GgufFields): readonly string[] {
  const given = ggufStrings(file, 'tokenizer.ggml.tokens');
  if (given === undefined || given.length === 0) throw invalid(file, 'tokenizer.ggml.tokens is missing or empty');
  const tokens = given.map((text, i) => (text === '' ? `[EMPTY_${i}]` : text)); // llama.cpp's own name for it
  const seen = new Set<string>();
  for (const [i, text] of tokens.entries()) {
    if (seen.has(text)) throw invalid(file, `token ${JSON.stringify(text)} occurs twice, the second time as ${i}`);
    seen.add(text);
  }
  return tokens;
}

function readPreTokenizer(file: GgufFields): PreTokenizer {
  const name = ggufString(file, 'tokenizer.ggml.pre') ?? 'default';
  const pre = PRE_TOKENIZERS.get(name);
  if (pre !== undefined) return pre;
  throw new CrayonError('tokenizer-unsupported', `${file.path}: pre-tokenizer ${JSON.stringify(name)} is unknown`, {
    hint: `Known are ${[...PRE_TOKENIZERS.keys()].join(', ')}.`,
  });
}

function perToken(file: GgufFields, name: string, size: number): readonly number[] | undefined {
  const values = ggufNumbers(file, `tokenizer.ggml.${name}`);
  if (values === undefined || values.length === size) return values;
  throw invalid(file, `tokenizer.ggml.${name} has ${values.length} entries, expected ${size}, one for each token`);
}

function pieceScores(file: GgufFields, size: number): readonly number[] {
  const scores = perToken(file, 'scores', size);
  if (scores === undefined) throw invalid(file, 'tokenizer.ggml.scores is missing');
  if (scores.some((score) => Number.isNaN(score))) throw invalid(file, 'tokenizer.ggml.scores has NaN');
  return scores;
}

function readMerges(file: GgufFields): Array<[string, string]> {
  const merges = ggufStrings(file, 'tokenizer.ggml.merges');
  if (merges === undefined) throw invalid(file, 'tokenizer.ggml.merges is missing');
  return merges.map((merge) => {
    const space = merge.indexOf(' ', 1);
    if (space === -1) throw invalid(file, `merge ${JSON.stringify(merge)}, expected two tokens and a space`);
    return [merge.slice(0, space), merge.slice(space + 1)];
  });
}

/** llama.cpp knows by the model's name that Phi-3's special tokens, but for these, swallow the spaces after them. */
function swallowsSpaces(file: GgufFields): boolean {
  return /phi-?3/i.test(ggufString(file, 'general.name') ?? '');
}
const KEEPS_SPACES = ['<unk>', '<s>', '<|endoftext|>'];

function invalid({ path }: GgufFields, problem: string): CrayonError {
  return new CrayonError('tokenizer-invalid', `${path}: ${problem}`);
}
