/** `crayon inspect` of a GGUF file: a base model, a LoRA, or a vocabulary alone. */

import { isCrayonError } from '../../core/errors.js';
import { formatBytes, formatCount } from '../../core/format.js';
import {
  type GgufTensorInfo,
  type GgufValue,
  ggufCount,
  ggufNumber,
  ggufString,
  ggufStrings,
} from '../../gguf/format.js';
import { GgufFile } from '../../gguf/read.js';
import { readGgufVocabulary } from '../../gguf/vocabulary/read.js';
import type { Terminal } from '../terminal.js';

/** Longer arrays, vocabularies above all, are given by their length in the JSON document. */
const MAX_ARRAY = 16;

export type Facts = Array<[name: string, value: string]>;

/** Prints or documents what the file says of itself; returns the lines for people. */
export function inspectGguf(path: string, terminal: Terminal): Facts {
  const file = GgufFile.open(path);
  file.close();
  const tensors = [...file.tensors.values()];
  const type = ggufString(file, 'general.type') ?? 'model';
  const tokenizer = tokenizerFacts(file);
  terminal.document({
    kind: 'gguf',
    path,
    sizeBytes: file.sizeBytes,
    version: file.version,
    type,
    architecture: file.metadata.has('general.architecture') ? file.architecture : null,
    parameters: countParameters(tensors),
    metadata: Object.fromEntries([...file.metadata].map(([key, entry]) => [key, jsonValue(entry)])),
    tokenizer: Object.fromEntries(tokenizer),
    tensors,
  });
  const shared: Facts = [
    ['size', formatBytes(file.sizeBytes)],
    ['tensors', `${tensors.length}, ${formatCount(countParameters(tensors))} elements`],
    ['stored as', storedAs(tensors)],
  ];
  return type === 'adapter'
    ? [...adapterFacts(file, tensors), ...shared]
    : [...modelFacts(file), ...shared, ...tokenizer];
}

function modelFacts(file: GgufFile): Facts {
  const { architecture, metadata } = file;
  const name = ggufString(file, 'general.name');
  // Some architectures give a list, one number for each layer.
  const get = (key: string): number | undefined => {
    const entry = metadata.get(`${architecture}.${key}`);
    return entry === undefined || entry.type === 'array' ? undefined : ggufNumber(file, `${architecture}.${key}`);
  };
  const sizes = [
    part('', get('block_count'), ' layers'),
    part('hidden size ', get('embedding_length'), ''),
    part('', get('attention.head_count'), ' heads'),
    part('', get('attention.head_count_kv'), ' key/value heads'),
  ];
  const what = file.tensors.size === 0 ? 'vocabulary without weights' : 'base model';
  return [
    ['kind', `GGUF ${what} (${architecture})${name === undefined ? '' : `, ${JSON.stringify(name)}`}`],
    ['layers', sizes.filter((text) => text !== '').join(', ')],
    ['context', part('', get('context_length'), ' tokens') || 'not given'],
  ];
}

function adapterFacts(file: GgufFile, tensors: readonly GgufTensorInfo[]): Facts {
  const { architecture } = file;
  const kind = ggufString(file, 'adapter.type') ?? 'unknown';
  const alpha = ggufNumber(file, 'adapter.lora.alpha');
  // lora_a is (r, in).
  const downs = tensors.filter(({ name }) => name.endsWith('.lora_a'));
  const ranks = [...new Set(downs.map(({ shape }) => shape[0]!))].sort((a, b) => a - b);
  const modules = downs.map(({ name }) => name.replace(/^blk\.\d+\./, '').replace(/\.weight\.lora_a$/, ''));
  return [
    ['kind', `GGUF ${kind === 'lora' ? 'LoRA' : kind} adapter (${architecture})`],
    ['rank', `${ranks.join(', ') || 'none'} (alpha ${alpha ?? 'not given'})`],
    ['modules', `${downs.length}: ${[...new Set(modules)].join(', ')}`],
  ];
}

function tokenizerFacts(file: GgufFile): Facts {
  const model = ggufString(file, 'tokenizer.ggml.model');
  if (model === undefined) return [];
  const pre = ggufString(file, 'tokenizer.ggml.pre');
  const tokens = ggufStrings(file, 'tokenizer.ggml.tokens') ?? [];
  const named = (key: string): string => {
    const id = ggufCount(file, `tokenizer.ggml.${key}_token_id`, 0);
    return id === undefined ? 'none' : `${id} ${JSON.stringify(tokens[id] ?? '?')}`;
  };
  const template = ggufString(file, 'tokenizer.chat_template');
  return [
    ['tokenizer', `${model}${pre === undefined ? '' : ` (${pre})`}, ${formatCount(tokens.length)} tokens`],
    ['special', `BOS ${named('bos')}, EOS ${named('eos')}`],
    ['chat', template === undefined ? 'no template' : 'has a template'],
    ...unreadable(file),
  ];
}

/** llama.cpp may well read a vocabulary that crayon does not: said, not refused. */
function unreadable(file: GgufFile): Facts {
  try {
    readGgufVocabulary(file);
    return [];
  } catch (error) {
    if (!isCrayonError(error)) throw error;
    return [['note', `crayon does not read this tokenizer: ${error.message.replace(`${file.path}: `, '')}`]];
  }
}

/** How many elements are stored in each type, most first. */
function storedAs(tensors: readonly GgufTensorInfo[]): string {
  const counts = new Map<string, number>();
  for (const { type } of tensors) counts.set(type, (counts.get(type) ?? 0) + 1);
  const sorted = [...counts].sort((a, b) => b[1] - a[1]);
  return sorted.map(([type, count]) => `${type} (${count})`).join(', ') || 'nothing';
}

function part(before: string, value: number | undefined, after: string): string {
  return value === undefined ? '' : `${before}${formatCount(value)}${after}`;
}

function countParameters(tensors: readonly GgufTensorInfo[]): number {
  return tensors.reduce((sum, { shape }) => sum + shape.reduce((n, size) => n * size, 1), 0);
}

function jsonValue(entry: GgufValue): unknown {
  if (entry.type !== 'array') return plain(entry.value);
  if (entry.value.length > MAX_ARRAY) return `${entry.value.length} x ${entry.of}`;
  return entry.value.map((value) => plain(value));
}

/** JSON knows no 64-bit whole numbers, infinities or NaN. */
function plain(value: number | bigint | boolean | string): number | boolean | string {
  if (typeof value === 'bigint') return Number.isSafeInteger(Number(value)) ? Number(value) : String(value);
  return typeof value === 'number' && !Number.isFinite(value) ? String(value) : value;
}
