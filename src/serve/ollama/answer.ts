/** Answers as Ollama sends them: JSON documents, of which the last has counts and durations in nanoseconds. */

import type { FinishReason, TokenEvent, Usage } from '../../engine/types.js';
import type { HttpError } from '../http/error.js';
import { type Framing, JSON_LINES } from '../http/stream.js';
import { tokenLogprobs } from '../openai/answer.js';

/** `{"error": "..."}`. */
export function ollamaError({ message }: HttpError): { error: string } {
  return { error: message };
}

export interface OllamaHead {
  /** as the request named it */
  model: string;
  isChat: boolean;
  hasLogprobs: boolean;
  now: () => number;
}

export interface Measured {
  /** milliseconds of the request's life */
  times: { askedMs: number; firstTokenMs: number };
  endMs: number;
  usage: Usage;
}

const line = (document: object): string => `${JSON.stringify(document)}\n`;
const nanoseconds = (ms: number): number => Math.max(0, Math.round(ms * 1e6));

export function ollamaAnswer({ model, isChat, hasLogprobs, now }: OllamaHead) {
  const document = (text: string, done: boolean, rest: object = {}): object => ({
    model,
    created_at: new Date(now()).toISOString(),
    ...(isChat ? { message: { role: 'assistant', content: text } } : { response: text }),
    done,
    ...rest,
  });
  const logprobs = (tokens: readonly TokenEvent[]): object => (hasLogprobs ? { logprobs: tokenLogprobs(tokens) } : {});
  /** @param told who answered */
  const ending = (reason: FinishReason, told: object, { times, endMs, usage }: Measured): object => ({
    done_reason: reason,
    total_duration: nanoseconds(endMs),
    // The model is always loaded: what comes before it is asked, checks and routing apart from its own work.
    load_duration: nanoseconds(times.askedMs),
    prompt_eval_count: usage.promptTokens,
    prompt_eval_duration: nanoseconds(times.firstTokenMs - times.askedMs),
    eval_count: usage.completionTokens,
    eval_duration: nanoseconds(endMs - times.firstTokenMs),
    ...told,
  });
  return {
    token: (event: TokenEvent): string | null =>
      event.text === '' && !hasLogprobs ? null : line(document(event.text, false, logprobs([event]))),
    closing: (text: string, reason: FinishReason, told: object, measured: Measured): string => {
      const held = text === '' ? '' : line(document(text, false));
      return held + line(document('', true, ending(reason, told, measured)));
    },
    whole: (text: string, tokens: readonly TokenEvent[], reason: FinishReason, told: object, measured: Measured) =>
      document(text, true, { ...ending(reason, told, measured), ...logprobs(tokens) }),
    /** To a request without a prompt. */
    loaded: () => document('', true, { done_reason: 'load' }),
    framing: {
      ...JSON_LINES,
      // A comment is nothing that JSON lines have; a document without text is one that all clients take.
      get keepAlive() {
        return line(document('', false));
      },
      failure: (error) => line(ollamaError(error)),
    } satisfies Framing,
  };
}
