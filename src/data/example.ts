/** What an example is. The templates of a YAML description are in template.ts, what the field names of a plain file mean in record.ts. */

import type { ChatMessage } from '../core/chat.js';
import { abridge, shown } from '../core/format.js';
import { LIMITS } from '../core/limits.js';

/** An example without its name. */
export interface RawExample {
  /** A text to be continued; of a conversation, the contents of its turns (`renderPlain`). */
  prompt: string;
  /** The right answer as it continues the prompt, usually with a leading space; of a conversation, the assistant's turn as it is. */
  completion: string;
  /** The turns before the answer, where the record is a conversation. */
  messages?: readonly ChatMessage[];
  /** All answers of a multiple choice, as they continue the prompt. */
  choices?: string[];
  /** Index of the right one. */
  answer?: number;
  /**
   * Length of a YAML description's `target_delimiter`, with which every choice begins. It is scored, but is no part of the
   * choice's length that acc_norm divides by, as in lm-evaluation-harness. Absent for none.
   */
  delimiter?: number;
}

/** Why an example cannot be trained or scored on, or undefined. */
export function whyInvalid({ prompt, completion, choices = [] }: RawExample): string | undefined {
  const texts = { prompt, completion, ...Object.fromEntries(choices.map((choice, i) => [`choice ${i}`, choice])) };
  for (const [name, text] of Object.entries(texts)) {
    if (text.trim() === '') return `${name} is empty`;
    if (text.includes('\0')) return `${name} has a NUL character`;
    if (/\p{Surrogate}/u.test(text)) return `${name} has half a surrogate pair, which is no character`;
  }
  return undefined;
}

export function asChoices(value: unknown): string[] {
  if (!Array.isArray(value)) throw new Error(`choices are ${kindOf(value)}, expected a list of texts`);
  const bad = value.find((choice) => typeof choice !== 'string');
  if (bad !== undefined) throw new Error(`a choice is ${kindOf(bad)}, expected text`);
  const { length } = value;
  if (length < 2 || length > LIMITS.choices) throw new Error(`${length} choices, expected 2 to ${LIMITS.choices}`);
  return value;
}

/** An index, an index in digits (as in lm-eval), or the text of a choice. */
export function asIndex(value: unknown, choices: readonly string[]): number {
  const index = typeof value === 'string' && !/^\d+$/.test(value) ? choices.indexOf(value) : Number(value);
  const isUsable = typeof value === 'string' || typeof value === 'number';
  if (isUsable && Number.isInteger(index) && index >= 0 && index < choices.length) return index;
  const named = `one of the choices (${abridge(choices.map(shown), 10, ', ')})`;
  if (value === undefined) throw new Error(`answer is missing, expected ${named} or its index from 0`);
  throw new Error(`answer ${shown(value)} is not ${named}, nor an index below ${choices.length}`);
}

export function kindOf(value: unknown): string {
  if (value === undefined) return 'missing';
  if (value === null) return 'null';
  return Array.isArray(value) ? 'a list' : `a ${typeof value}`;
}
