/** Answers as Ollama sends them: JSON documents, of which the last has counts and durations in nanoseconds. */

import type { TokenEvent, ToolCall } from '../../engine/types.js';
import { jsonValue } from '../../files/json.js';
import type { HttpError } from '../http/error.js';
import { type Framing, JSON_LINES } from '../http/stream.js';
import { tokenLogprobs } from '../openai/answer.js';
import { CollectedCalls, type Ending } from '../openai/calls.js';

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
}

const line = (document: object): string => `${JSON.stringify(document)}\n`;
/** Arguments are an object here; what an answer that was cut off left of them is none, and stays text. */
function calledFunction({ id, function: { name, arguments: text } }: ToolCall, index: number): object {
  let parsed: unknown = text;
  try {
    parsed = jsonValue(text);
  } catch {}
  return { id, function: { index, name, arguments: parsed } };
}

const nanoseconds = (ms: number): number => Math.max(0, Math.round(ms * 1e6));

export function ollamaAnswer({ model, isChat, hasLogprobs, now }: OllamaHead) {
  const calls = new CollectedCalls();
  const tokens: TokenEvent[] = [];
  const document = (text: string, done: boolean, rest: object = {}, called: readonly ToolCall[] = []): object => {
    const toolCalls = called.length === 0 ? {} : { tool_calls: called.map(calledFunction) };
    return {
      model,
      created_at: new Date(now()).toISOString(),
      ...(isChat ? { message: { role: 'assistant', content: text, ...toolCalls } } : { response: text }),
      done,
      ...rest,
    };
  };
  const logprobs = (of: readonly TokenEvent[]): object => (hasLogprobs ? { logprobs: tokenLogprobs(of) } : {});
  /** @param told who answered */
  const ending = ({ finishReason, usage }: Ending, told: object, { times, endMs }: Measured): object => ({
    done_reason: finishReason === 'tool_calls' ? 'stop' : finishReason, // Ollama has no word of its own for calls
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
    /** Calls are kept until the end, and sent whole: their arguments are objects. */
    token: (event: TokenEvent): string | null => {
      calls.add(event.calls);
      return event.text === '' && !hasLogprobs ? null : line(document(event.text, false, logprobs([event])));
    },
    closing: (end: Ending, told: object, measured: Measured): string => {
      calls.add(end.calls);
      const { text } = end;
      const held = text === '' && calls.list.length === 0 ? '' : line(document(text, false, {}, calls.list));
      return held + line(document('', true, ending(end, told, measured)));
    },
    /** Of an answer that is sent whole: its tokens, and then all of it. */
    add: (event: TokenEvent): void => {
      calls.add(event.calls);
      tokens.push(event);
    },
    whole: (end: Ending, told: object, measured: Measured): object => {
      calls.add(end.calls);
      const text = tokens.map((token) => token.text).join('') + end.text;
      return document(text, true, { ...ending(end, told, measured), ...logprobs(tokens) }, calls.list);
    },
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
