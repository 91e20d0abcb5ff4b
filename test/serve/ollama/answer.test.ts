import { describe, expect, it } from 'vitest';
import type { FinishReason, TokenEvent } from '../../../src/engine/types.js';
import { ollamaAnswer } from '../../../src/serve/ollama/answer.js';

const token = (text: string, calls: TokenEvent['calls'] = []): TokenEvent => ({
  type: 'token',
  text,
  logprob: null,
  calls,
});
const CALLS = [
  token('', [{ index: 0, id: 'call_1', name: 'weather', arguments: '' }]),
  token('', [{ index: 0, arguments: '{"city":' }]),
  token('', [{ index: 0, arguments: '"Paris"}' }]),
  token('', [{ index: 1, id: 'call_2', name: 'time', arguments: '{"zone"' }]),
];
const measured = {
  times: { askedMs: 1, firstTokenMs: 3.5 },
  endMs: 10,
};
const end = (finishReason: FinishReason, text = '') => ({
  ...{ text, finishReason, usage: { promptTokens: 5, completionTokens: 4, cachedTokens: null } },
});
const head = { model: 'edge', isChat: true, hasLogprobs: false, now: () => 0 };

describe('ollamaAnswer', () => {
  it('has calls whole, with their arguments as an object, or as the text that was left of one', () => {
    const called = [
      { id: 'call_1', function: { index: 0, name: 'weather', arguments: { city: 'Paris' } } },
      { id: 'call_2', function: { index: 1, name: 'time', arguments: '{"zone"' } },
    ];
    const message = { role: 'assistant', content: '', tool_calls: called };
    const whole = ollamaAnswer(head);
    for (const event of CALLS) whole.add(event);
    expect(whole.whole(end('length'), {}, measured)).toMatchObject({ message, done_reason: 'length' });
    const streamed = ollamaAnswer(head);
    expect(CALLS.map((event) => streamed.token(event))).toEqual([null, null, null, null]);
    const documents = streamed.closing(end('tool_calls'), {}, measured).trimEnd().split('\n');
    expect(documents.map((one) => JSON.parse(one))).toMatchObject([
      { message, done: false },
      { message: { content: '' }, done: true, done_reason: 'stop' },
    ]);
  });

  it('counts nanoseconds', () => {
    expect(ollamaAnswer(head).whole(end('stop', 'a'), { crayon: 1 }, measured)).toEqual({
      ...{ model: 'edge', created_at: '1970-01-01T00:00:00.000Z', message: { role: 'assistant', content: 'a' } },
      ...{ done: true, done_reason: 'stop', total_duration: 10_000_000, load_duration: 1_000_000 },
      ...{ prompt_eval_count: 5, prompt_eval_duration: 2_500_000, eval_count: 4, eval_duration: 6_500_000, crayon: 1 },
    });
  });
});
