/**
 * What llama.cpp ends the process for: conditions on a file's metadata that it asserts, or relies on, where a reader would answer with an
 * error. Taken from `load_hparams` and `load_tensors` (llama-model.cpp), `llama_vocab::impl::load` (llama-vocab.cpp), ggml's operations
 * and `llama_adapter_lora_init_impl` (llama-adapter.cpp), as node-llama-cpp 3.22 has them.
 *
 * The first conditions hold for every architecture; those on sizes for the families that crayon knows. What others assert beyond them
 * shows in the engine's trial run.
 */

import { abridge } from '../core/format.js';
import { findFamilyOfArchitecture } from '../hf/families.js';
import { type GgufFields, type GgufValue, ggufInvalid } from './format.js';
import type { GgufFile } from './read.js';
import { GGML_OPAQUE_TYPES } from './types.js';

/** LLAMA_MAX_LAYERS, LLAMA_MAX_EXPERTS. */
const MAX_LAYERS = 512;
const MAX_EXPERTS = 1024;
/** `llama_rope_scaling_type`. */
const ROPE_SCALINGS = ['none', 'linear', 'yarn', 'longrope'];
/** What a file without a vocabulary says of it; tokenizing asserts that there is one. */
const NO_VOCABULARY = ['none', 'no_vocab'];
/** Problems named in one message. */
const SHOWN = 5;

/** What llama.cpp reads of an adapter without a look at its type. */
const ADAPTER_TYPES = {
  'general.type': 'string',
  'general.architecture': 'string',
  'adapter.type': 'string',
  'adapter.lora.alpha': 'float32',
} as const;

/** Types of whole numbers and of doubles, which no product takes. */
const NO_WEIGHTS: ReadonlySet<string> = new Set(Object.keys(GGML_OPAQUE_TYPES));

type File = GgufFields & Pick<GgufFile, 'tensors'>;

/** @throws CrayonError `gguf-invalid` naming what llama.cpp would end the process for, in a model's file or a LoRA's */
export function refuseWhatAborts(file: File): void {
  const bad = whatAborts(file);
  if (bad.length > 0) throw ggufInvalid(file.path, `llama.cpp would end the process: ${abridge(bad, SHOWN)}`);
}

/** What llama.cpp would end the process for, one problem each. */
export function whatAborts(file: File): string[] {
  const isAdapter = textOf(file.metadata.get('general.type')) === 'adapter' || file.metadata.has('adapter.type');
  if (isAdapter) return [...adapterProblems(file), ...tensorProblems(file)];
  return [...modelProblems(file), ...vocabularyProblems(file)];
}

function adapterProblems({ metadata }: GgufFields): string[] {
  return Object.entries(ADAPTER_TYPES).flatMap(([key, type]) => {
    const found = metadata.get(key)?.type ?? type;
    return found === type ? [] : [`${key} is ${found}, expected ${type}`];
  });
}

function modelProblems(file: File): string[] {
  const { metadata } = file;
  const architecture = textOf(metadata.get('general.architecture'));
  if (architecture === undefined) return ['general.architecture is no text'];
  const bad: string[] = [];
  const at = (key: string): GgufValue | undefined => metadata.get(`${architecture}.${key}`);
  /** The number, or one for each layer; none where the key is absent or is no number. */
  const numbers = (key: string): number[] => numbersOf(at(key));
  const expect = (key: string, holds: boolean, wanted: string): void => {
    if (!holds)
      bad.push(`${architecture}.${key} is ${numbers(key).slice(0, SHOWN).join(', ') || 'missing'}, expected ${wanted}`);
  };
  const within = (key: string, least: number, most: number): void => {
    const wanted = most === Number.MAX_SAFE_INTEGER ? `at least ${least}` : `${least} to ${most}`;
    expect(
      key,
      numbers(key).every((x) => Number.isInteger(x) && x >= least && x <= most),
      wanted,
    );
  };
  const one = (key: string, fallback: number): number => numbers(key)[0] ?? fallback;
  const largest = (key: string): number => Math.max(0, ...numbers(key));

  within('block_count', 1, MAX_LAYERS);
  within('nextn_predict_layers', 0, one('block_count', 0));
  const experts = one('expert_count', 0);
  within('expert_count', 0, MAX_EXPERTS);
  const used = largest('expert_used_count');
  expect(
    'expert_used_count',
    experts > 0 ? used >= 1 && used <= experts : used === 0,
    experts > 0 ? `1 to ${experts}` : '0',
  );
  const groups = one('expert_group_count', 0);
  expect(
    'expert_group_count',
    experts > 0 ? groups < experts && (groups < 2 || experts % groups === 0) : groups === 0,
    `a part of ${experts} experts`,
  );
  if (experts > 0 && groups > 1) {
    const usedGroups = one('expert_group_used_count', 0);
    expect('expert_group_used_count', usedGroups > 0 && usedGroups < groups, `1 to ${groups - 1}`);
  }
  const scaling = textOf(at('rope.scaling.type'));
  if (scaling !== undefined && !ROPE_SCALINGS.includes(scaling)) {
    bad.push(`${architecture}.rope.scaling.type is ${JSON.stringify(scaling)}, expected ${ROPE_SCALINGS.join(', ')}`);
  }
  for (const key of [
    'attention.layer_norm_epsilon',
    'attention.layer_norm_rms_epsilon',
    'attention.group_norm_epsilon',
  ]) {
    expect(
      key,
      numbers(key).every((eps) => eps >= 0 && Number.isFinite(eps)),
      'a number from 0',
    );
  }

  if (findFamilyOfArchitecture(architecture) === undefined) return bad;
  bad.push(...tensorProblems(file));
  const required = ['block_count', 'embedding_length', 'context_length', 'feed_forward_length', 'attention.head_count'];
  for (const key of required) {
    expect(key, numbers(key).length > 0, 'a whole number');
    within(key, 1, 2 ** 31 - 1);
  }
  for (const key of ['attention.head_count_kv', 'attention.key_length', 'attention.value_length'])
    within(key, 1, 2 ** 31 - 1);
  if (bad.length > 0) return bad;
  const heads = numbers('attention.head_count');
  const kvHeads = numbers('attention.head_count_kv');
  const groupsFit = heads.every((h, i) => h % (kvHeads.length > 1 ? (kvHeads[i] ?? 1) : (kvHeads[0] ?? h)) === 0);
  expect('attention.head_count_kv', groupsFit, `a divisor of the ${heads[0]} heads`);
  const width = Math.floor(one('embedding_length', 0) / heads[0]!);
  const size = one('attention.key_length', width);
  if (width === 0) expect('attention.head_count', false, `at most the embedding_length ${one('embedding_length', 0)}`);
  expect('attention.value_length', one('attention.value_length', width) === size, `the key_length ${size}`);
  const rotated = one('rope.dimension_count', size);
  expect(
    'rope.dimension_count',
    rotated > 0 && rotated <= size && rotated % 2 === 0,
    `an even number up to the head size ${size}`,
  );
  return bad;
}

function tensorProblems({ tensors }: File): string[] {
  return [...tensors.values()].flatMap(({ name, type, shape }) => {
    if (NO_WEIGHTS.has(type)) return [`tensor "${name}" is of ${type}, expected a type of weights`];
    // Norms and biases, which are multiplied and added element by element.
    return shape.length < 2 && type !== 'F32' ? [`tensor "${name}" is of ${type}, expected F32 for one dimension`] : [];
  });
}

/** Texts that occur twice are one entry of a map whose size is asserted; numbers of tokens index lists without a look at their length. */
function vocabularyProblems({ metadata }: GgufFields): string[] {
  const bad: string[] = [];
  const kind = textOf(metadata.get('tokenizer.ggml.model')) ?? 'none';
  if (NO_VOCABULARY.includes(kind))
    return [`tokenizer.ggml.model is ${JSON.stringify(kind)}: there is nothing to make tokens with`];
  const tokens = metadata.get('tokenizer.ggml.tokens');
  if (tokens?.type !== 'array' || tokens.of !== 'string') return bad; // an error of llama.cpp's, or a file without a vocabulary
  const seen = new Set<string>();
  for (const [i, given] of tokens.value.entries()) {
    const token = given === '' ? `[EMPTY_${i}]` : given; // llama.cpp's own name for it
    if (seen.has(token)) bad.push(`token ${JSON.stringify(token.slice(0, 40))} occurs twice, the second time as ${i}`);
    seen.add(token);
  }
  if (kind === 'llama') bad.push(...missingBytes(seen));
  return bad;
}

/** What is no token, SentencePiece's vocabulary spells in bytes, and llama.cpp counts on a token for each that UTF-8 has. */
function missingBytes(tokens: ReadonlySet<string>): string[] {
  const missing: string[] = [];
  for (let byte = 0; byte < 0xf5; byte++) {
    const name = `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`;
    const isText = byte >= 0x80 ? byte !== 0xc0 && byte !== 0xc1 : byte !== 0x20; // a space is another letter there
    if (isText && !tokens.has(name) && !(byte < 0x80 && tokens.has(String.fromCharCode(byte)))) missing.push(name);
  }
  return missing.length === 0 ? [] : [`no token for the byte ${abridge(missing, SHOWN, ', ')}`];
}

const textOf = (entry: GgufValue | undefined): string | undefined =>
  entry?.type === 'string' ? entry.value : undefined;

function numbersOf(entry: GgufValue | undefined): number[] {
  if (entry === undefined || entry.type === 'string' || (entry.type === 'array' && entry.of === 'string')) return [];
  const values: ReadonlyArray<number | bigint | boolean | string> =
    entry.type === 'array' ? entry.value : [entry.value];
  return values.map(Number);
}
