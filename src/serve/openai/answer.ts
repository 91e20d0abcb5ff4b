/**
 * Answers as OpenAI sends them, whole and in chunks: chat.completion and chat.completion.chunk, and the legacy text_completion.
 * What the two kinds share is written once; `CHAT_WIRE` and `TEXT_WIRE` hold what differs.
 */

import type {
  FinishReason,
  GenerateEvent,
  TokenDetail,
  TokenEvent,
  TokenProbability,
  ToolCall,
  ToolCallPiece,
  Usage,
} from '../../engine/types.js';
import { VALUE_NAMES } from '../../routing/signals/index.js';
import type { Decision } from '../../routing/types.js';

/** What one kind of answer calls things, and where in a choice it puts them. */
export interface AnswerWire {
  /** `object` of the answer, and of a chunk of it. */
  whole: string;
  chunk: string;
  /** What comes before any text. */
  opening: object | null;
  /** The choice of a chunk with this text or these pieces of calls, and of the whole answer. */
  piece(text: string, calls?: readonly ToolCallPiece[]): object;
  message(text: string, calls: readonly ToolCall[]): object;
  /** The choice of the chunk that says why the answer ends; null where the text that was held back goes with it. */
  ending: object | null;
  /** Null where the engine gave none for any of the tokens. `start` is the characters before the first. */
  logprobs(tokens: readonly TokenEvent[], start: number): object | null;
  /** For a whole answer without any, where they were asked for. */
  noLogprobs: object | null;
}

export const CHAT_WIRE: AnswerWire = {
  whole: 'chat.completion',
  chunk: 'chat.completion.chunk',
  opening: { delta: { role: 'assistant', content: '' } },
  piece: (content, calls = []) => ({
    delta: {
      ...((content !== '' || calls.length === 0) && { content }),
      ...(calls.length > 0 && { tool_calls: calls.map(callPiece) }),
    },
  }),
  message: (text, calls) => {
    const content = calls.length > 0 && text === '' ? null : text;
    return { message: { role: 'assistant', content, refusal: null, ...(calls.length > 0 && { tool_calls: calls }) } };
  },
  ending: { delta: {} },
  logprobs: (tokens) => {
    const content = tokenLogprobs(tokens);
    return content.length === 0 ? null : { content, refusal: null };
  },
  noLogprobs: { content: [], refusal: null },
};

const callPiece = ({ index, id, name, arguments: given }: ToolCallPiece): object => ({
  index,
  ...(id !== undefined && { id, type: 'function' }),
  function: { ...(name !== undefined && { name }), arguments: given },
});

export const TEXT_WIRE: AnswerWire = {
  whole: 'text_completion',
  chunk: 'text_completion',
  opening: null,
  piece: (text) => ({ text }),
  message: (text) => ({ text }),
  ending: null,
  logprobs: textLogprobs,
  noLogprobs: null,
};

/** One entry a token, of those that an engine gave any for. */
export function tokenLogprobs(tokens: readonly TokenEvent[]): object[] {
  const entry = ({ token, logprob, bytes }: TokenProbability) => ({ token, logprob, bytes });
  return tokens.flatMap((event) => {
    const detail = detailOf(event);
    return detail === null ? [] : [{ ...entry(detail), top_logprobs: detail.top.map(entry) }];
  });
}

/** Parallel lists, one entry a token; null for the first token of a prompt that is sent back. */
export interface TextLogprobs {
  tokens: string[];
  token_logprobs: Array<number | null>;
  top_logprobs: Array<Record<string, number> | null>;
  text_offset: number[];
}

/**
 * @param start characters before the first token
 * @param ending the token that ended the answer, where it is to be listed too
 */
export function textLogprobs(tokens: readonly TokenEvent[], start: number, ending?: TokenDetail): TextLogprobs | null {
  let offset = start;
  const entries = tokens.flatMap((event) => {
    const detail = detailOf(event);
    const at = offset;
    offset += event.text.length;
    return detail === null ? [] : [{ detail, at }];
  });
  if (ending !== undefined) entries.push({ detail: ending, at: offset });
  if (entries.length === 0) return null;
  return {
    tokens: entries.map(({ detail }) => detail.token),
    token_logprobs: entries.map(({ detail }) => detail.logprob),
    top_logprobs: entries.map(({ detail }) => byName(detail.top)),
    text_offset: entries.map(({ at }) => at),
  };
}

/** By the tokens' names; of those that share one, such as halves of characters, the likeliest stands. */
export function byName(tokens: readonly TokenProbability[]): Record<string, number> {
  const named = new Map<string, number>();
  for (const { token, logprob } of tokens) if (!named.has(token)) named.set(token, logprob);
  return Object.fromEntries(named);
}

/** An answer read to its end. */
export interface WholeAnswer {
  text: string;
  tokens: TokenEvent[];
  calls: ToolCall[];
  finishReason: FinishReason;
  usage: Usage;
}

/** Turns events into the JSON documents of one answer. */
export type AnswerFormat = ReturnType<typeof answerFormat>;

/**
 * @param head stands in every chunk and every answer: `created` in seconds since 1970, `model` who answered, `crayon` only where
 *   an answer begins and ends
 * @param logprobs whether they were asked for
 * @param index which of several answers
 * @param includeUsage whether a chunk with the usage comes last; the others then say `usage: null`
 */
export function answerFormat(
  wire: AnswerWire,
  { crayon, id, created, model }: { id: string; created: number; model: string; crayon: object },
  logprobs: boolean,
  includeUsage: boolean,
  index = 0,
) {
  const nullUsage = includeUsage ? { usage: null } : {};
  let sent = 0; // characters
  const document = (object: string, choices: object[], rest: object) => {
    return { id, object, created, model, choices, ...rest };
  };
  const choice = (part: object, logprobsField: object | null, finishReason: string | null) => [
    { index, ...part, logprobs: logprobsField, finish_reason: finishReason },
  ];
  const chunk = (part: object, field: object | null, finishReason: string | null, extra: object = {}): object =>
    document(wire.chunk, choice(part, field, finishReason), { ...nullUsage, ...extra });
  return {
    /** Before any text. */
    opening: () => (wire.opening === null ? [] : [chunk(wire.opening, null, null, { crayon })]),
    /** Null where the event has nothing to show. */
    token: (event: TokenEvent) => {
      const field = logprobs ? wire.logprobs([event], sent) : null;
      sent += event.text.length;
      const { text, calls } = event;
      return text === '' && field === null && calls === undefined ? null : chunk(wire.piece(text, calls), field, null);
    },
    /** The last ones with a choice: text that was held back, and why the answer ends. */
    closing: ({ text, finishReason, calls = [] }: Extract<GenerateEvent, { type: 'end' }>) => {
      if (wire.ending === null) return [chunk(wire.piece(text), null, finishReason, { crayon })];
      const held = text === '' && calls.length === 0 ? [] : [chunk(wire.piece(text, calls), null, null)];
      return [...held, chunk(wire.ending, null, finishReason, { crayon })];
    },
    /** Only when it was asked for. */
    usage: (usage: Usage) => document(wire.chunk, [], { usage: usageField(usage) }),
    /** The answer in one piece. */
    whole: (answer: WholeAnswer) => {
      return document(wire.whole, [wholeChoice(wire, answer, logprobs)], { usage: usageField(answer.usage), crayon });
    },
  };
}

/** The choice of a whole answer. @param asked whether log-probabilities were */
export function wholeChoice(
  wire: AnswerWire,
  { text, tokens, calls, finishReason }: WholeAnswer,
  asked: boolean,
): object {
  const logprobs = asked ? (wire.logprobs(tokens, 0) ?? wire.noLogprobs) : null;
  return { index: 0, ...wire.message(text, calls), logprobs, finish_reason: finishReason };
}

/** Who answered and why: crayon's own field. */
export function crayonField({ source, reason, score, threshold, signals, fallbackFrom, failure }: Decision): object {
  const named = {
    prompt_tokens: signals.promptTokens,
    max_tokens: signals.maxTokens,
    ...Object.fromEntries(VALUE_NAMES.map((name) => [name, signals[name]])),
  };
  return {
    source,
    reason,
    score,
    threshold,
    signals: Object.fromEntries(Object.entries(named).filter(([, value]) => typeof value === 'number')),
    // The source that was wanted and failed, with the failure's code.
    fallback_from: fallbackFrom ?? undefined,
    failure: failure?.code,
  };
}

/** The same as headers; absent ones have no value. */
export function crayonHeaders({ source, reason, score, threshold }: Decision): Record<string, string> {
  const named = { source, reason, score, threshold };
  const given = Object.entries(named).filter(([, value]) => value !== null);
  return Object.fromEntries(given.map(([name, value]) => [`x-crayon-${name}`, String(value)]));
}

export function usageField({ promptTokens, completionTokens, cachedTokens }: Usage) {
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
    prompt_tokens_details: cachedTokens === null ? undefined : { cached_tokens: cachedTokens },
  };
}

/** The token as the model has it; from its shown text where an engine gives no detail. */
function detailOf({ detail, text, logprob }: TokenEvent): TokenDetail | null {
  if (detail !== undefined) return detail;
  return logprob === null ? null : { token: text, bytes: [...Buffer.from(text)], logprob, top: [] };
}
