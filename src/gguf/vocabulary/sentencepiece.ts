/**
 * BPE with byte fallback (Llama 2, Mistral) as a SentencePiece vocabulary: llama.cpp merges whichever neighbours form the
 * token with the best score, Hugging Face merges by the rank of the pair. The two are the same where every way to put a
 * token together is a merge, and all merges that form one token follow each other: which is checked.
 */

import { CrayonError } from '../../core/errors.js';
import type { JsonObject } from '../../files/json.js';
import { type BpeModel, TOKEN_TYPE } from './bpe.js';
import { flatten } from './splitting.js';

/** Below every merged token: llama.cpp never forms these by merging where the checks hold. */
const UNMERGED_SCORE = -1e6;

/**
 * One score a token: minus its place among the merged tokens.
 *
 * @throws CrayonError `tokenizer-unsupported` when scores cannot express the merges, with an example
 */
export function sentencePieceScores(
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
export function spacePrefix(tokenizer: JsonObject, where: string): boolean {
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
