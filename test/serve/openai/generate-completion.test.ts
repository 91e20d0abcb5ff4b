import { describe, expect, it } from 'vitest';
import { sseData, testApp } from '../helpers.js';

describe('POST /v1/completions', () => {
  it('answers in one document, with log-probabilities in parallel lists', async () => {
    const probabilities = { a: 0.5, b: 0.5 };
    const { post, device } = testApp({
      device: { answers: [{ tokens: [{ text: 'a', probabilities }, { text: ' b' }] }] },
    });
    const answer = await post('/v1/completions', { model: 'edge', prompt: 'say', logprobs: 1, max_tokens: 2, seed: 7 });
    expect(await answer.json()).toEqual({
      id: 'cmpl-1',
      object: 'text_completion',
      created: 1_700_000_000,
      model: 'edge',
      choices: [
        {
          index: 0,
          text: 'a b',
          logprobs: {
            tokens: ['a', ' b'],
            token_logprobs: [Math.log(0.5), Math.log(0.5)],
            top_logprobs: [{ a: Math.log(0.5) }, { ' b': Math.log(0.5) }],
            text_offset: [0, 1],
          },
          finish_reason: 'stop',
        },
      ],
      usage: { prompt_tokens: 2, completion_tokens: 2, total_tokens: 4 },
      crayon: {
        source: 'on_device',
        reason: 'accepted',
        score: null,
        threshold: null,
        signals: { prompt_tokens: 2, max_tokens: 2 },
      },
    });
    expect(device.requests[0]!.request).toMatchObject({
      query: { prompt: { kind: 'text', text: 'say' } },
      seed: 7,
      topLogprobs: 1,
    });
  });

  it('streams, text joined equal to the whole, usage last when asked', async () => {
    const { post } = testApp({ device: { answers: 'one two three' } });
    const body = { model: 'edge', prompt: ['say'], stream: true, stream_options: { include_usage: true } };
    const events = sseData(await (await post('/v1/completions', body)).text());
    const chunks = events.slice(0, -1).map((data) => JSON.parse(data));
    expect(events.at(-1)).toBe('[DONE]');
    expect(chunks.every((chunk) => chunk.object === 'text_completion' && chunk.id === 'cmpl-1')).toBe(true);
    expect(chunks.flatMap((chunk) => chunk.choices.map((choice: { text: string }) => choice.text)).join('')).toBe(
      'one two three',
    );
    expect(chunks.at(-2).choices[0].finish_reason).toBe('stop');
    expect(chunks.at(-1)).toMatchObject({ choices: [], usage: { completion_tokens: 3 } });
  });

  it('generates 16 tokens where the request names no number, as OpenAI does', async () => {
    const { post, device } = testApp();
    await post('/v1/completions', { model: 'edge', prompt: 'x' });
    expect(device.requests[0]!.request.maxTokens).toBe(16);
  });

  it.each<[string, object]>([
    ['prompt', { prompt: undefined }],
    ['prompt', { prompt: [] }],
    ['prompt', { prompt: [[]] }],
    ['prompt', { prompt: ['a', 5] }],
    ['prompt', { prompt: ['a', [5]] }],
    ['prompt', { prompt: [1.5] }],
    ['prompt', { prompt: [-1] }],
    ['prompt', { prompt: ['a', 'b\0'] }],
    ['prompt', { prompt: 5 }],
    ['echo', { echo: 1 }],
    ['max_tokens', { max_tokens: 0 }],
    ['stream', { echo: true, stream: true }],
    ['stream', { prompt: ['a', 'b'], stream: true }],
    ['stop', { stop: Array.from({ length: 17 }, (_, i) => `${i}`) }],
    ['prompt', { prompt: Array.from({ length: 65 }, () => 'a') }],
    ['suffix', { suffix: 'end' }],
    ['best_of', { best_of: 3 }],
    ['logprobs', { logprobs: true }],
    ['logprobs', { logprobs: 21 }],
    ['messages', { messages: [] }],
    ['n', { n: 2, echo: true }],
  ])('refuses by name: %s', async (param, change) => {
    const answer = await testApp().post('/v1/completions', { model: 'edge', prompt: 'hi', ...change });
    expect([answer.status, await answer.json()]).toMatchObject([400, { error: { param } }]);
  });
});
