/** What the two kinds of answer have in common on the wire, and the interface that the handler drives. */

import type { FinishReason, GenerateEvent, TokenDetail, Usage } from '../../engine/types.js';
import { VALUE_NAMES } from '../../routing/signals/index.js';
import type { Decision } from '../../routing/types.js';

export type TokenEvent = Extract<GenerateEvent, { type: 'token' }>;

/** What stands in every chunk and every answer. */
export interface AnswerHead {
  id: string;
  /** seconds since 1970 */
  created: number;
  /** who answered: a model of this server, or the server LLM's name */
  model: string;
  crayon: CrayonField;
}

/** Who answered and why: crayon's own field, the same as in the answer's headers. */
export interface CrayonField {
  source: Decision['source'];
  reason: Decision['reason'];
  score: number | null;
  threshold: number | null;
  signals: Record<string, number>;
  /** the source that was wanted and failed, with the failure's code */
  fallback_from?: Decision['source'];
  failure?: string;
}

export interface WholeAnswer {
  text: string;
  tokens: TokenEvent[];
  finishReason: FinishReason;
  usage: Usage;
}

/** Turns events into the JSON documents of one route. */
export interface AnswerFormat {
  /** before any text */
  opening(): object[];
  /** null where the event has nothing to show */
  token(event: TokenEvent): object | null;
  /** the last one with a choice: text that was held back, and why the answer ends */
  closing(text: string, finishReason: FinishReason): object[];
  /** only when it was asked for */
  usage(usage: Usage): object;
  /** the answer in one piece */
  whole(answer: WholeAnswer): object;
}

export function crayonField(decision: Decision): CrayonField {
  const { source, reason, score, threshold, signals, fallbackFrom, failure } = decision;
  const named: Array<[string, number | null | undefined]> = [
    ['prompt_tokens', signals.promptTokens],
    ['max_tokens', signals.maxTokens],
    ...VALUE_NAMES.map((name): [string, number | undefined] => [name, signals[name]]),
  ];
  return {
    source,
    reason,
    score,
    threshold,
    signals: Object.fromEntries(named.filter((pair): pair is [string, number] => typeof pair[1] === 'number')),
    ...(fallbackFrom === null ? {} : { fallback_from: fallbackFrom }),
    ...(failure === undefined ? {} : { failure: failure.code }),
  };
}

/** The same as headers; absent ones have no value. */
export function crayonHeaders({ source, reason, score, threshold }: Decision): Record<string, string> {
  return {
    'x-crayon-source': source,
    'x-crayon-reason': reason,
    ...(score === null ? {} : { 'x-crayon-score': String(score) }),
    ...(threshold === null ? {} : { 'x-crayon-threshold': String(threshold) }),
  };
}

export function usageField({ promptTokens, completionTokens, cachedTokens }: Usage) {
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
    ...(cachedTokens === null ? {} : { prompt_tokens_details: { cached_tokens: cachedTokens } }),
  };
}

/** The token as the model has it; from its shown text where an engine gives no detail. */
export function detailOf({ detail, text, logprob }: TokenEvent): TokenDetail | null {
  if (detail !== undefined) return detail;
  return logprob === null ? null : { token: text, bytes: [...Buffer.from(text)], logprob, top: [] };
}
