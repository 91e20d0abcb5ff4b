/** Requests to engines, and what comes back. */

import { type CrayonError, isCrayonError } from '../../src/core/errors.js';
import { type GenerateEvent, type GenerateRequest, type Prompt, Query } from '../../src/engine/types.js';

/** A request's fields, the prompt as it is. */
export type Asked = Partial<Omit<GenerateRequest, 'query'>> & { prompt?: Prompt };

/** A greedy request for a text prompt, with a signal that never fires. */
export function generateRequest({ prompt, ...overrides }: Asked = {}): GenerateRequest {
  return {
    query: new Query(prompt ?? { kind: 'text', text: 'one two three' }),
    maxTokens: 64,
    temperature: 0,
    topP: 1,
    seed: null,
    stop: [],
    topLogprobs: null,
    signal: new AbortController().signal,
    ...overrides,
  };
}

export interface Answer {
  events: GenerateEvent[];
  text: string;
  tokens: Array<Extract<GenerateEvent, { type: 'token' }>>;
  /** undefined where the answer failed before its end */
  end: Extract<GenerateEvent, { type: 'end' }> | undefined;
  /** undefined where all went well */
  error: CrayonError | undefined;
}

/** Reads to the end, or to the CrayonError; any other error is thrown on. */
export async function collect(events: AsyncIterable<GenerateEvent>): Promise<Answer> {
  const answer: Answer = { events: [], text: '', tokens: [], end: undefined, error: undefined };
  try {
    for await (const event of events) {
      answer.events.push(event);
      if (event.type !== 'start') answer.text += event.text;
      if (event.type === 'token') answer.tokens.push(event);
      if (event.type === 'end') answer.end = event;
    }
  } catch (error) {
    if (!isCrayonError(error)) throw error;
    answer.error = error;
  }
  return answer;
}
