/**
 * The tokenizer of a GGUF file, the same as llama.cpp's own: byte-level BPE as a tokenizer.json for @huggingface/tokenizers,
 * and SentencePiece BPE by score, as llama.cpp does it (llama-vocab.cpp, `llm_tokenizer_spm_session`): the characters of a text
 * are merged pair by pair, always the pair whose piece has the best score, the leftmost of equals; characters that are no
 * piece become their bytes. transformers' own way, merges by rank, is the same except where scores are equal.
 */

import type { JsonObject } from '../../files/json.js';
import { type ChatParts, createTokenizer, requireBos, type Tokenizer, withChat } from '../../hf/tokenizer.js';
import type { GgufFields } from '../format.js';
import { ggufEndTokenIds } from './end-tokens.js';
import { type GgufVocabulary, readGgufVocabulary } from './read.js';

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
  const ends = ggufEndTokenIds(file);
  return vocabulary.model === 'llama'
    ? spmTokenizer(vocabulary, file.path, ends)
    : bpeTokenizer(vocabulary, file.path, ends);
}

function spmTokenizer(vocabulary: GgufVocabulary, where: string, ends: readonly number[]): Tokenizer {
  const { tokens, bosId, eosId, addsBos, chatTemplate } = vocabulary;
  const codec = spmCodec(vocabulary);
  const names = specialNames(vocabulary);
  const parts: ChatParts = {
    vocabSize: tokens.length,
    bosId,
    eosId,
    addsBos,
    control: new Map([...vocabulary.control].map((id) => [tokens[id]!, id])),
    specialToken: (name) => names[name] ?? null,
    where,
    ends,
    encode(text, { addBos = addsBos } = {}) {
      const ids = codec.encode(text);
      return addBos ? [requireBos(bosId, where), ...ids] : ids;
    },
    encodeText: (text) => codec.encodeText(text),
    decode: (ids, { keepSpecial = false } = {}) => codec.decode(ids, keepSpecial),
  };
  return withChat(parts, chatTemplate);
}

function bpeTokenizer(vocabulary: GgufVocabulary, where: string, ends: readonly number[]): Tokenizer {
  const { addsBos, chatTemplate } = vocabulary;
  const config = { ...specialNames(vocabulary), clean_up_tokenization_spaces: false };
  const files = { tokenizer: bpeJson(vocabulary), config, specialTokens: {}, chatTemplate };
  return createTokenizer(files, where, { addsBos, ends, areExpressionsOurs: true });
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

const SPACE = '▁';
const BYTE_TOKEN = /^<0x([0-9A-F]{2})>$/;

/** A possible merge of the symbols at `left` and `right`, whose text is then `length` long. */
interface Bigram {
  left: number;
  right: number;
  score: number;
  length: number;
}

/** Bytes without a token of their own become the unknown token, or nothing where there is none. */
function spmCodec(vocabulary: GgufVocabulary) {
  const { tokens, scores, control, unknownId, stripsRight, addSpacePrefix } = vocabulary;
  const ids = new Map(tokens.map((text, id) => [text, id]));
  const byteIds = Array.from({ length: 256 }, (_, byte) => {
    return ids.get(`<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`) ?? unknownId;
  });
  const literal = new Set(vocabulary.special);
  const longestFirst = [...vocabulary.special].sort((a, b) => tokens[b]!.length - tokens[a]!.length);
  const userDefined = longestFirst.filter((id) => !control.has(id));
  const utf8 = new TextEncoder();

  const encodePart = (text: string, out: number[]): void => {
    for (const symbol of mergeByScore(text, (piece) => ids.get(piece), scores)) {
      const id = ids.get(symbol);
      if (id !== undefined) out.push(id);
      else for (const byte of utf8.encode(symbol)) if (byteIds[byte] !== null) out.push(byteIds[byte]!);
    }
  };

  const pieceBytes = (id: number): Uint8Array => {
    const text = tokens[id]!;
    if (literal.has(id)) return utf8.encode(text);
    const byte = BYTE_TOKEN.exec(text)?.[1];
    return byte === undefined ? utf8.encode(text.replaceAll(SPACE, ' ')) : Uint8Array.of(Number.parseInt(byte, 16));
  };

  const encodeWith = (text: string, special: readonly number[]): number[] => {
    const out: number[] = [];
    // Half a surrogate pair has no bytes: it arrives at llama.cpp as the replacement character.
    const wellFormed = text.replace(/\p{Surrogate}/gu, '\ufffd');
    for (const part of splitSpecial(wellFormed, special, tokens, stripsRight)) {
      if (typeof part === 'number') out.push(part);
      else encodePart(`${addSpacePrefix ? ' ' : ''}${part}`.replaceAll(' ', SPACE), out);
    }
    return out;
  };

  return {
    /** Ids of a text without BOS; names of special tokens in it become those tokens. */
    encode: (text: string) => encodeWith(text, longestFirst),
    /** The same, but names of control tokens are text like any other. */
    encodeText: (text: string) => encodeWith(text, userDefined),
    /** Text of ids; unknown ids are left out. */
    decode(sequence: ArrayLike<number>, keepSpecial: boolean): string {
      const pieces: Uint8Array[] = [];
      for (const id of Array.from(sequence)) {
        if (tokens[id] !== undefined && (keepSpecial || !control.has(id))) pieces.push(pieceBytes(id));
      }
      const text = Buffer.concat(pieces).toString('utf8');
      return addSpacePrefix && text.startsWith(' ') ? text.slice(1) : text;
    },
  };
}

/** Cuts the text at every special token, the longest first, each from the left. */
function splitSpecial(
  text: string,
  special: readonly number[],
  tokens: readonly string[],
  stripsRight: ReadonlySet<number>,
): Array<string | number> {
  let parts: Array<string | number> = text === '' ? [] : [text];
  for (const id of special) {
    const name = tokens[id]!;
    if (!text.includes(name)) continue;
    parts = parts.flatMap((part) => {
      if (typeof part === 'number') return [part];
      const [first, ...rest] = part.split(name);
      const after = rest.flatMap((piece) => [id, stripsRight.has(id) ? piece.replace(/^[ \t\n\v\f\r]+/, '') : piece]);
      return [first!, ...after].filter((piece) => piece !== '');
    });
  }
  return parts;
}

function mergeByScore(text: string, idOf: (piece: string) => number | undefined, scores: readonly number[]): string[] {
  const symbols = Array.from(text);
  const previous = symbols.map((_, i) => i - 1);
  const next = symbols.map((_, i) => (i + 1 < symbols.length ? i + 1 : -1));
  const queue = new BigramQueue();
  const consider = (left: number, right: number): void => {
    if (left === -1 || right === -1) return;
    const piece = symbols[left]! + symbols[right]!;
    const id = idOf(piece);
    if (id !== undefined) queue.push({ left, right, score: scores[id]!, length: piece.length });
  };
  for (let i = 1; i < symbols.length; i++) consider(i - 1, i);
  for (let pair = queue.pop(); pair !== undefined; pair = queue.pop()) {
    const { left, right, length } = pair;
    // A symbol that has been merged away is empty; one that has grown makes another length.
    if (symbols[left] === '' || symbols[right] === '') continue;
    if (symbols[left]!.length + symbols[right]!.length !== length) continue;
    symbols[left] += symbols[right]!;
    symbols[right] = '';
    next[left] = next[right]!;
    if (next[left] !== -1) previous[next[left]!] = left;
    consider(previous[left]!, left);
    consider(left, next[left]!);
  }
  return symbols.filter((symbol) => symbol !== '');
}

/** A binary heap: the best score first, the leftmost of equals. */
class BigramQueue {
  readonly #heap: Bigram[] = [];

  push(item: Bigram): void {
    const heap = this.#heap;
    let at = heap.push(item) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!isBefore(item, heap[parent]!)) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = item;
  }

  pop(): Bigram | undefined {
    const heap = this.#heap;
    const best = heap[0];
    const last = heap.pop();
    if (heap.length === 0 || last === undefined) return best;
    let at = 0;
    for (let child = 1; child < heap.length; child = 2 * at + 1) {
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++;
      if (!isBefore(heap[child]!, last)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
    return best;
  }
}

function isBefore(a: Bigram, b: Bigram): boolean {
  return a.score > b.score || (a.score === b.score && a.left < b.left);
}
