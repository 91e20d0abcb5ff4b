/**
 * The tables of a large byte-pair vocabulary as they lie in a file: token to id and pair to rank are looked up in hash tables there, so
 * that encoding ten prompts costs reading a few megabytes and not the building of half a million objects. A pool keeps it of its base
 * model's tokenizer.json, which its digest names; everything around the vocabulary is the tokenizer.json's, as text.
 *
 * safetensors: `text` (bytes of all tokens in UTF-8), `ends` (where each ends there), `ids`, `tokens` (hash table of places in `ids`, + 1),
 * `left`, `right` (places, by rank), `merges` (hash table of ranks, + 1). Tables have a power of two of places, probed one after another.
 */

import { LIMITS } from '../core/limits.js';
import { isJsonObject, type JsonObject, jsonValue } from '../files/json.js';
import { SafetensorsFile } from '../safetensors/read.js';
import { writeSafetensors } from '../safetensors/write.js';

const FORMAT = 'crayon-vocabulary-1';

/** Smaller vocabularies are built in a few hundredths of a second. */
const WORTHWHILE_TOKENS = 30_000;

/** Of a model that the tables stand for: what is left of it in the skeleton. */
const EMPTY = { vocab: {}, merges: [] };

export interface VocabularyIndex {
  /** tokenizer.json with an empty vocabulary. */
  readonly skeleton: JsonObject;
  /** Largest token id of the vocabulary + 1, added tokens not counted. */
  readonly size: number;
  idOf(token: string): number | undefined;
  /** Which merge joins two tokens; the lower comes first. */
  rankOf(left: string, right: string): number | undefined;
}

/**
 * Writes the file, or nothing: where the vocabulary is small, or none of byte pairs that are all its tokens.
 *
 * @param json a tokenizer.json that has been checked
 * @param digest of its file
 * @param fewest tokens that are worth a file
 * @returns whether it was written
 */
export function writeVocabularyIndex(
  path: string,
  json: JsonObject,
  digest: string,
  fewest = WORTHWHILE_TOKENS,
): boolean {
  const model = isJsonObject(json.model) ? json.model : {};
  const { vocab, merges } = model as { vocab?: Record<string, number>; merges?: Array<string | string[]> };
  if (model.type !== 'BPE' || !isJsonObject(vocab) || !Array.isArray(merges)) return false;
  const names = Object.keys(vocab);
  if (names.length < fewest) return false;

  const places = new Map(names.map((name, place) => [name, place]));
  const left = new Int32Array(merges.length);
  const right = new Int32Array(merges.length);
  for (const [rank, merge] of merges.entries()) {
    // as the library does it
    const [one, other] = Array.isArray(merge) ? merge : merge.split(' ', 2);
    const [a, b] = [places.get(one!), places.get(other!)];
    if (a === undefined || b === undefined) return false;
    left[rank] = a;
    right[rank] = b;
  }
  const pieces = names.map((name) => Buffer.from(name, 'utf8'));
  if (pieces.some((piece, i) => piece.toString('utf8') !== names[i])) return false; // lone surrogates
  const ends = new Int32Array(names.length);
  let end = 0;
  for (const [i, piece] of pieces.entries()) {
    end += piece.length;
    ends[i] = end;
  }
  const tokens = emptyTable(names.length);
  for (const [i, piece] of pieces.entries()) insert(tokens, hashBytes(piece), i);
  const pairs = emptyTable(merges.length);
  // from the last to the first, each in front of those of the same pair before it: like a map, the last one counts
  const seen = new Set<number>();
  for (let rank = merges.length - 1; rank >= 0; rank--) {
    const pair = left[rank]! * names.length + right[rank]!;
    if (!seen.has(pair)) insert(pairs, hashPair(left[rank]!, right[rank]!), rank);
    seen.add(pair);
  }

  const ids = Int32Array.from(names, (name) => vocab[name]!);
  const skeleton = JSON.stringify({ ...json, model: { ...model, ...EMPTY } });
  const tensor = (name: string, data: Int32Array) => ({ name, dtype: 'I32' as const, shape: [data.length], data });
  const text = { name: 'text', dtype: 'U8' as const, shape: [end], data: Uint8Array.from(Buffer.concat(pieces)) };
  const tables = { ends, ids, left, right, tokens, merges: pairs };
  const list = Object.entries(tables).map(([name, data]) => tensor(name, data));
  writeSafetensors(path, [text, ...list], { format: FORMAT, tokenizer: digest, skeleton });
  return true;
}

/**
 * @param digest of the tokenizer.json that is wanted
 * @returns null where the file is that of another one
 * @throws CrayonError `safetensors-invalid`
 */
export function openVocabularyIndex(path: string, digest: string): VocabularyIndex | null {
  const file = SafetensorsFile.open(path);
  try {
    const { format, tokenizer, skeleton } = file.metadata;
    if (format !== FORMAT || tokenizer !== digest || skeleton === undefined) return null;
    const numbers = (name: string) => new Int32Array(file.readBytes(name).buffer);
    const tables = {
      ends: numbers('ends'),
      ids: numbers('ids'),
      tokens: numbers('tokens'),
      left: numbers('left'),
      right: numbers('right'),
      merges: numbers('merges'),
    };
    const json = jsonValue(skeleton);
    const text = file.readBytes('text');
    return isJsonObject(json) && areSound(tables, text.length) ? lookups(json, text, tables) : null;
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof RangeError) return null; // no JSON, or tables of broken length
    throw error;
  } finally {
    file.close();
  }
}

type Tables = Record<'ends' | 'ids' | 'tokens' | 'left' | 'right' | 'merges', Int32Array>;

/** Whether every token lies within the text and has an id that a vocabulary may have; whatever else is wrong finds a wrong token. */
function areSound({ ends, ids }: Tables, length: number): boolean {
  let end = 0;
  for (let i = 0; i < ends.length; i++) {
    const next = ends[i]!;
    if (next < end || next > length || !(ids[i]! >= 0 && ids[i]! < LIMITS.vocabulary)) return false;
    end = next;
  }
  return ids.length === ends.length;
}

function lookups(skeleton: JsonObject, text: Uint8Array, tables: Tables): VocabularyIndex {
  const { ends, ids, tokens, left, right, merges } = tables;
  const bytes = Buffer.from(text.buffer, text.byteOffset, text.byteLength);
  const known = new Map<string, number>(); // places; -1 for none
  const find = (token: string): number => {
    const piece = Buffer.from(token, 'utf8');
    return probe(tokens, hashBytes(piece), (place) => {
      const start = place === 0 ? 0 : ends[place - 1]!;
      return ends[place]! - start === piece.length && bytes.compare(piece, 0, piece.length, start, ends[place]!) === 0;
    });
  };
  const placeOf = (token: string): number => {
    let place = known.get(token);
    if (place === undefined) {
      place = find(token);
      known.set(token, place);
    }
    return place;
  };
  let size = 0;
  for (let i = 0; i < ids.length; i++) if (ids[i]! >= size) size = ids[i]! + 1;
  return {
    skeleton,
    size,
    idOf: (token) => ids[placeOf(token)],
    rankOf(one, other) {
      const [a, b] = [placeOf(one), placeOf(other)];
      if (a === -1 || b === -1) return undefined;
      const rank = probe(merges, hashPair(a, b), (at) => left[at] === a && right[at] === b);
      return rank === -1 ? undefined : rank;
    },
  };
}

/**
 * Lets the library's byte-pair tokenizer of the skeleton look tokens and merges up in the index, in place of its own maps.
 *
 * @param backend of `@huggingface/tokenizers`; throws a plain Error where it does not have the maps that version 0.2 has
 */
export function lookIn(backend: object, index: VocabularyIndex): void {
  const { model } = backend as { model?: Partial<LibraryModel> };
  if (!(model?.tokens_to_ids instanceof Map && model.bpe_ranks instanceof Map)) throw new Error('unknown library');
  model.tokens_to_ids = new IndexedTokens(model.tokens_to_ids, index);
  model.bpe_ranks = new IndexedRanks(index);
  if (typeof model.unk_token === 'string') model.unk_token_id = model.tokens_to_ids.get(model.unk_token);
}

interface LibraryModel {
  tokens_to_ids: Map<string, number>;
  /** by the JSON of a pair */
  bpe_ranks: Map<string, number>;
  unk_token: string | null;
  unk_token_id: number | undefined;
}

/** The added tokens, and those of the index. */
class IndexedTokens extends Map<string, number> {
  readonly #index: VocabularyIndex;

  constructor(added: Map<string, number>, index: VocabularyIndex) {
    super(added);
    this.#index = index;
  }

  override get(token: string): number | undefined {
    return super.get(token) ?? this.#index.idOf(token);
  }

  override has(token: string): boolean {
    return this.get(token) !== undefined;
  }
}

class IndexedRanks extends Map<string, number> {
  readonly #index: VocabularyIndex;

  constructor(index: VocabularyIndex) {
    super();
    this.#index = index;
  }

  override get(pair: string): number | undefined {
    const [left, right] = JSON.parse(pair) as [string, string];
    return this.#index.rankOf(left, right);
  }
}

/** At most half of it will be taken. */
function emptyTable(entries: number): Int32Array {
  let size = 2;
  while (size < 2 * entries) size *= 2;
  return new Int32Array(size);
}

function insert(table: Int32Array, hash: number, value: number): void {
  let at = hash & (table.length - 1);
  while (table[at] !== 0) at = (at + 1) & (table.length - 1);
  table[at] = value + 1;
}

/** The value in the table that is the right one, or -1. A table without a free place, which none of ours is, ends after a round. */
function probe(table: Int32Array, hash: number, isRight: (value: number) => boolean): number {
  for (let step = 0; step < table.length; step++) {
    const value = table[(hash + step) & (table.length - 1)]! - 1;
    if (value === -1 || isRight(value)) return value;
  }
  return -1;
}

/** FNV-1a, with a last mix of the high bits into the low ones that a table uses. */
function hashBytes(bytes: Uint8Array): number {
  let hash = 0x811c9dc5;
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193);
  return (hash ^ (hash >>> 15)) >>> 0;
}

function hashPair(a: number, b: number): number {
  const hash = Math.imul(Math.imul(a, 0x9e3779b1) ^ b, 0x85ebca6b);
  return (hash ^ (hash >>> 13)) >>> 0;
}
