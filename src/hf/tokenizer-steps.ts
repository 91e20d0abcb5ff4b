/**
 * How much the steps of a tokenizer.json around its vocabulary can make of a text. Real ones make each character a few bytes; a chain of
 * steps that each write two characters for one makes any short text more than a machine can hold.
 */

import { LIMITS } from '../core/limits.js';
import { isJsonObject } from '../files/json.js';

/** Characters that one byte-level step writes for one: its bytes in UTF-8, a character each. */
const BYTES = 3;
const lengthOf = (text: unknown): number => (typeof text === 'string' ? text.length : 0);

/**
 * Throws a plain Error where normalizer, pre-tokenizer or decoder have more steps than any real one (`LIMITS.tokenizerSteps`), or write more
 * characters for each of a text than `LIMITS.tokenizerGrowth`. The library's normal forms (NFKC and the like) count as 1: done again, they change nothing.
 */
export function refuseGrowingSteps(json: Readonly<Record<string, unknown>>): void {
  for (const part of ['normalizer', 'pre_tokenizer', 'decoder']) {
    const steps = stepsOf(json[part]);
    if (steps.length > LIMITS.tokenizerSteps) {
      throw new Error(`${part} has ${steps.length} steps, expected at most ${LIMITS.tokenizerSteps}`);
    }
    const growth = steps.map(growthOf).reduce((product, factor) => product * factor, 1);
    if (growth > LIMITS.tokenizerGrowth) {
      throw new Error(`${part} makes each character of a text ${growth}, expected at most ${LIMITS.tokenizerGrowth}`);
    }
  }
}

type Step = Readonly<Record<string, unknown>>;

function stepsOf(part: unknown): Step[] {
  if (!isJsonObject(part)) return [];
  const inner = [part.normalizers, part.pretokenizers, part.decoders].find(Array.isArray);
  return inner === undefined ? [part] : inner.flatMap(stepsOf);
}

function growthOf({ type, content, pattern, prepend, replacement }: Step): number {
  switch (type) {
    case 'ByteLevel':
      return BYTES;
    case 'Replace': {
      // An expression may match nothing at all, between any two characters.
      const taken = isJsonObject(pattern) ? lengthOf(pattern.String) : 0;
      return taken === 0 ? 1 + lengthOf(content) : Math.max(1, lengthOf(content) / taken);
    }
    case 'Prepend':
      return 1 + lengthOf(prepend);
    case 'Metaspace':
      return Math.max(1, lengthOf(replacement));
    default:
      return 1;
  }
}
