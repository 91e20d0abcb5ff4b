/**
 * llama.cpp's name (`tokenizer.ggml.pre`) for the way a byte-level BPE tokenizer splits text into words.
 *
 * llama.cpp's converter recognises a tokenizer by a hash of the ids that it gives to a fixed text, which also changes with
 * the vocabulary; here the splitting rules themselves are compared with those that llama.cpp carries out for each name
 * (src/llama-vocab.cpp), so a new vocabulary under known rules is recognised, and unknown rules are refused.
 */

import { CrayonError } from '../../core/errors.js';
import { isJsonObject, type JsonObject } from '../../files/json.js';
import { cased, modern } from './expressions.js';

interface KnownRules {
  /** The steps, as `describe` writes them. */
  steps: string[];
  pre: string;
  /** llama.cpp takes a word that is in the vocabulary as it stands, without merging, under this name. */
  ignoreMerges?: boolean;
}

const isolated = (regex: string): string => `split ${regex}`;
const CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
const wordsOf = (digits: string): string => isolated(modern(CONTRACTIONS, digits));
const TEKKEN = isolated(cased(['[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]', '[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]'], '', '\\p{N}'));

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
