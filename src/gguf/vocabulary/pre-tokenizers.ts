/**
 * How a text is cut before byte-level BPE, for each value of `tokenizer.ggml.pre`: the expressions of llama.cpp
 * (llama-vocab.cpp), applied one after the other, each to the pieces that the one before has left.
 */

import { CrayonError } from '../../core/errors.js';
import { isJsonObject, type JsonObject } from '../../files/json.js';
import { ANY_CASE_CONTRACTIONS, CONTRACTIONS, cased, GPT2, modern, TEKKEN_WORDS } from '../../hf/word-expressions.js';

const LLAMA3 = modern(CONTRACTIONS, '\\p{N}{1,3}');
const QWEN2 = modern(CONTRACTIONS, '\\p{N}');
const QWEN35 =
  `${CONTRACTIONS}|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*` +
  '|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+';
const BLOOM = ' ?[^(\\s|.,!?…。，、।۔،)]+';
/** Letters that are not a to z, and letters that are not A to Z: llama.cpp's stand-in for upper and lower case. */
const CASES = ['(?:(?=\\p{L})[^a-z])', '(?:(?=\\p{L})[^A-Z])'] as const;

export interface PreTokenizer {
  expressions: readonly string[];
  /** a piece that is a token as it stands is not merged from its bytes */
  ignoreMerges: boolean;
  /** where the file does not say whether a text starts with BOS */
  addsBos: boolean;
}

const plain = (...expressions: string[]): PreTokenizer => ({ expressions, ignoreMerges: false, addsBos: false });

const FAMILIES: ReadonlyArray<[names: string, PreTokenizer]> = [
  ['default', plain('[\\p{P}\\$\\+<=>\\^~\\|]+', GPT2, '\\p{N}+', '[0-9][0-9][0-9]')],
  [
    'llama3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral midm-2.0 lfm2',
    { expressions: [LLAMA3], ignoreMerges: true, addsBos: true },
  ],
  ['dbrx smaug-bpe glm4 chatglm-bpe', plain(LLAMA3)],
  ['gpt-2 phi-2 gigachat a.x-4.0 mellum mpt olmo jais trillion granite-docling exaone4', plain(GPT2)],
  ['starcoder refact command-r smollm codeshell exaone minerva-7b', plain('\\p{N}', GPT2)],
  ['qwen2 deepseek-r1-qwen megrez stablelm2 hunyuan solar-open grok-2 kormo', plain(QWEN2)],
  ['qwen35', plain(QWEN35)],
  ['falcon', plain('[\\p{P}\\$\\+<=>\\^~\\|`]+', GPT2, '[0-9][0-9][0-9]')],
  ['deepseek-coder', plain('[\\r\\n]', '\\s?\\p{L}+', '\\s?\\p{P}+', '[一-龥ࠀ-一가-퟿]+', '\\p{N}')],
  ['poro-chat bloom gpt3-finnish', plain(BLOOM)],
  ['viking', plain(BLOOM, '\\p{N}')],
  ['tekken', { expressions: [cased(CASES, '', '\\p{N}')], ignoreMerges: true, addsBos: true }],
  ['gpt-4o llama4 kanana2 minimax-m2', plain(cased(CASES, `${CONTRACTIONS}?`, '\\p{N}{1,3}'))],
  [
    'seed-coder',
    plain(
      `${CONTRACTIONS}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}\\r\\n]+|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`,
    ),
  ],
];

/** By the value of `tokenizer.ggml.pre`. */
export const PRE_TOKENIZERS: ReadonlyMap<string, PreTokenizer> = new Map(
  FAMILIES.flatMap(([names, pre]) => names.split(' ').map((name) => [name, pre] as const)),
);

/**
 * llama.cpp's name (`tokenizer.ggml.pre`) for the way a byte-level BPE tokenizer splits text into words.
 *
 * llama.cpp's converter recognises a tokenizer by a hash of the ids that it gives to a fixed text, which also changes with
 * the vocabulary; here the splitting rules themselves are compared with those that llama.cpp carries out for each name
 * (src/llama-vocab.cpp), so a new vocabulary under known rules is recognised, and unknown rules are refused.
 */

interface KnownRules {
  /** The steps, as `describe` writes them. */
  steps: string[];
  pre: string;
  /** llama.cpp takes a word that is in the vocabulary as it stands, without merging, under this name. */
  ignoreMerges?: boolean;
}

const isolated = (regex: string): string => `split ${regex}`;
const wordsOf = (digits: string): string => isolated(modern(ANY_CASE_CONTRACTIONS, digits));
const TEKKEN = isolated(TEKKEN_WORDS);

const KNOWN: readonly KnownRules[] = [
  { steps: ['words'], pre: 'gpt-2' },
  { steps: [isolated('\\p{N}'), 'words'], pre: 'smollm' },
  { steps: [wordsOf('\\p{N}'), 'bytes'], pre: 'qwen2' },
  { steps: [wordsOf('\\p{N}{1,3}'), 'bytes'], pre: 'llama-bpe', ignoreMerges: true },
  { steps: [wordsOf('\\p{N}{1,3}'), 'bytes'], pre: 'smaug-bpe' },
  // llama.cpp tells upper from lower case in a to z only: words like "éÉ" may be cut elsewhere than in Mistral's own.
  { steps: [TEKKEN, 'bytes'], pre: 'tekken', ignoreMerges: true },
];

/**
 * Finds the name for a tokenizer.json.
 *
 * @throws CrayonError `tokenizer-unsupported` quoting the steps that llama.cpp has no name for
 */
export function ggufPreTokenizer(tokenizer: JsonObject, where: string): string {
  const steps = flatten(tokenizer.pre_tokenizer, 'pretokenizers').map((step) => describe(step));
  const ignoreMerges = isJsonObject(tokenizer.model) && tokenizer.model.ignore_merges === true;
  const found = KNOWN.find(
    (known) =>
      (known.ignoreMerges ?? false) === ignoreMerges &&
      known.steps.length === steps.length &&
      known.steps.every((step, i) => step === steps[i]),
  );
  if (found !== undefined) return found.pre;
  const shown = steps.map((step) => (step.length > 160 ? `${step.slice(0, 160)}…` : step)).join(', then ') || 'nothing';
  throw new CrayonError(
    'tokenizer-unsupported',
    `${where}: tokenizer.json splits words by: ${shown}${ignoreMerges ? ' (ignore_merges)' : ''}; expected the rules of ` +
      KNOWN.map(({ pre }) => pre).join(', '),
    { hint: 'No GGUF can be written for it: llama.cpp would split the text another way.' },
  );
}

/** The parts of a `Sequence`, nested or not, or the one part. */
export function flatten(part: unknown, listKey: string): JsonObject[] {
  if (!isJsonObject(part)) return [];
  if (part.type !== 'Sequence') return [part];
  const list = part[listKey];
  return Array.isArray(list) ? list.flatMap((item) => flatten(item, listKey)) : [];
}

function describe(step: JsonObject): string {
  if (step.type === 'ByteLevel') {
    if (step.add_prefix_space === true) return 'ByteLevel with add_prefix_space';
    return step.use_regex === false ? 'bytes' : 'words'; // 'words': GPT-2's own regular expression
  }
  if (step.type === 'Digits' && step.individual_digits === true) return isolated('\\p{N}');
  if (step.type === 'Split' && isJsonObject(step.pattern) && typeof step.pattern.Regex === 'string') {
    if (step.behavior === 'Isolated' && step.invert !== true) return isolated(step.pattern.Regex);
    // "Removed" with "invert" keeps what matches, the same where the expression matches everything.
    if (step.behavior === 'Removed' && step.invert === true) return isolated(step.pattern.Regex);
  }
  return JSON.stringify(step);
}
