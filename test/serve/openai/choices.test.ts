/** Several prompts, and prompts sent back with the log-probabilities of their tokens. */

import { describe, expect, it } from 'vitest';
import { testApp } from '../helpers.js';

const HALF = Math.log(0.5);
// biome-ignore lint/suspicious/noExplicitAny: the document is what is tested
const document = async (answer: Response): Promise<any> => answer.json();
const ask = { model: 'edge', temperature: 0, max_tokens: 0, logprobs: 1 };

describe('echo', () => {
  it('sends a prompt back with what each token was worth, the first of them without', async () => {
    const score = (word: string) =>
      word === ' b'
        ? { logprob: -3, best: 9, top: [{ id: 9, logprob: -0.1 }] }
        : { logprob: HALF, best: 7, top: [{ id: 7, logprob: HALF }] };
    const { post, device } = testApp({ device: { score } });
    const answer = await post('/v1/completions', { ...ask, prompt: 'a b', echo: true });
    expect(answer.headers.get('x-crayon-source')).toBe('on_device');
    expect(await document(answer)).toEqual({
      id: 'cmpl-1',
      object: 'text_completion',
      created: 1_700_000_000,
      model: 'edge',
      choices: [
        {
          index: 0,
          text: 'a b',
          logprobs: {
            tokens: ['<s>', 'a', ' b'],
            token_logprobs: [null, HALF, -3],
            top_logprobs: [null, { ' 7': HALF, a: HALF }, { ' 9': -0.1, ' b': -3 }],
            text_offset: [0, 0, 1],
          },
          finish_reason: 'length',
        },
      ],
      usage: { prompt_tokens: 3, completion_tokens: 0, total_tokens: 3, prompt_tokens_details: { cached_tokens: 0 } },
      crayon: {
        source: 'on_device',
        reason: 'mode',
        score: null,
        threshold: null,
        signals: { prompt_tokens: 3, max_tokens: 0 },
      },
    });
    expect(device.requests).toEqual([]); // nothing was generated
    expect(device.scoreRequests).toMatchObject([{ from: 1, topLogprobs: 1, adapters: [{ id: 'aaaa', scale: 1 }] }]);
  });

  it('goes on with the answer, whose tokens stand behind the prompt’s', async () => {
    const { post } = testApp({ device: { answers: [{ tokens: [' c', ' d'] }] } });
    const answer = await post('/v1/completions', { ...ask, prompt: 'a b', echo: true, max_tokens: 2 });
    const { choices, usage } = await document(answer);
    expect(choices[0].text).toBe('a b c d');
    expect(choices[0].logprobs).toMatchObject({
      tokens: ['<s>', 'a', ' b', ' c', ' d'],
      token_logprobs: [null, HALF, HALF, HALF, HALF],
      text_offset: [0, 0, 1, 3, 5],
    });
    expect(usage).toMatchObject({ prompt_tokens: 3, completion_tokens: 2 });
  });

  it('without log-probabilities asks for none', async () => {
    const { post, device } = testApp({ device: { answers: ' c' } });
    const answer = await post('/v1/completions', { model: 'edge', prompt: 'a b', echo: true, max_tokens: 1 });
    expect((await document(answer)).choices).toMatchObject([{ text: 'a b c', logprobs: null }]);
    expect(device.scoreRequests).toEqual([]);
  });

  it.each(['prefer_on_device', 'prefer_in_cloud', 'only_on_device'])(
    'is answered by the device in mode %s, and nothing of it reaches the server',
    async (mode) => {
      const { post, server } = testApp({ config: { server: SERVER, routing: { mode } } });
      const answer = await post('/v1/completions', { ...ask, prompt: 'a', echo: true, max_tokens: 1 });
      expect(answer.status).toBe(200);
      expect(answer.headers.get('x-crayon-source')).toBe('on_device');
      expect(server.requests).toEqual([]);
    },
  );

  it.each<[string, object]>([
    ['echo', { echo: true, crayon: { mode: 'only_in_cloud' } }],
    ['echo', { echo: true, model: 'big' }],
    ['prompt', { prompt: [5, 6], max_tokens: 1, crayon: { mode: 'only_in_cloud' } }],
    ['prompt', { prompt: [5, 6], max_tokens: 1, model: 'big' }],
  ])('and token ids cannot be meant for the server: %s %o', async (param, change) => {
    const { post, server } = testApp({ config: { server: SERVER } });
    const answer = await post('/v1/completions', { ...ask, prompt: 'a', ...change });
    expect([answer.status, await document(answer)]).toMatchObject([400, { error: { param } }]);
    expect(server.requests).toEqual([]);
  });

  it('refuses more tokens than the limit, and prompts too long for the context, before anything is computed', async () => {
    const few = testApp({ config: { limits: { echo_tokens: 5 } } });
    const much = await few.post('/v1/completions', { ...ask, prompt: ['a b', 'c d'], echo: true });
    expect([much.status, await much.json()]).toMatchObject([400, { error: { param: 'prompt' } }]);
    const short = testApp({ device: { contextTokens: 4 } });
    const long = await short.post('/v1/completions', { ...ask, prompt: ['a', 'b c d e'], echo: true });
    expect([long.status, await long.json()]).toMatchObject([400, { error: { code: 'context_length_exceeded' } }]);
    expect([...few.device.scoreRequests, ...short.device.scoreRequests]).toEqual([]);
  });
});

describe('several prompts', () => {
  it('give several choices in their order, with usage summed and who answered each', async () => {
    const answers = (request: { query: { text: string } }) => `to ${request.query.text}`;
    const { post, records } = testApp({ device: { answers } });
    const answer = await post('/v1/completions', { model: 'edge', prompt: ['x', 'y z', 'w'] });
    const { choices, usage, crayon } = await document(answer);
    expect(choices.map(({ index, text }: { index: number; text: string }) => [index, text])).toEqual([
      [0, 'to x'],
      [1, 'to y z'],
      [2, 'to w'],
    ]);
    expect(choices[1].crayon).toMatchObject({ source: 'on_device', signals: { prompt_tokens: 3 } });
    expect(usage).toEqual({ prompt_tokens: 7, completion_tokens: 7, total_tokens: 14 });
    expect(crayon).toEqual({ source: 'on_device' });
    expect(records().at(-1)).toMatchObject({ promptTokens: 7, completionTokens: 7 });
  });

  it('may have different sources', async () => {
    const { post } = testApp({
      config: { server: SERVER, routing: { thresholds: { complexity: 2 } } },
      device: { promptNll: (prompt) => (prompt.kind === 'text' && prompt.text === 'hard' ? 3 : 1) },
    });
    const answer = await post('/v1/completions', { model: 'edge', prompt: ['easy', 'hard'] });
    const { choices, model, crayon } = await document(answer);
    const found = choices.map((choice: { crayon: { source: string }; text: string }) => [
      choice.crayon.source,
      choice.text,
    ]);
    expect(found).toEqual([
      ['on_device', 'one two three'],
      ['in_cloud', 'from afar'],
    ]);
    expect([model, crayon, answer.headers.get('x-crayon-source')]).toEqual(['edge', { source: 'mixed' }, 'mixed']);
  });

  it('may be token ids, which the device alone answers', async () => {
    const { post, device, server } = testApp({ config: { server: SERVER, routing: { mode: 'prefer_in_cloud' } } });
    const answer = await post('/v1/completions', { model: 'edge', prompt: [[5, 6], [7]] });
    expect((await document(answer)).choices).toHaveLength(2);
    expect(device.requests.map(({ request }) => request.query.prompt)).toMatchObject([{ ids: [5, 6] }, { ids: [7] }]);
    const one = await post('/v1/completions', { model: 'edge', prompt: [5, 6] });
    expect((await document(one)).crayon).toMatchObject({ source: 'on_device', signals: { prompt_tokens: 2 } });
    expect(server.requests).toEqual([]);
  });

  it('fail as one, and none is begun after the failure', async () => {
    const answers = (_: object, index: number) =>
      index === 0 ? { tokens: 'a', fail: { at: 'open' as const, error: 'engine-unavailable' as const } } : 'b';
    const { post, device } = testApp({ device: { answers, capacity: 1 }, server: null });
    const answer = await post('/v1/completions', { model: 'edge', prompt: ['x', 'y', 'z'] });
    expect(answer.status).toBe(503);
    expect(device.requests).toHaveLength(1);
  });
});

const SERVER = { base_url: 'http://127.0.0.1:1/v1', model: 'big' };
