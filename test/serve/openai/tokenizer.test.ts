/** The tokenizer of the served model, as vLLM offers one and lm-evaluation-harness asks for it. */

import { describe, expect, it } from 'vitest';
import { testApp } from '../helpers.js';

describe('the tokenizer of the served model', () => {
  it('says how texts begin and end', async () => {
    const answer = await testApp().get('/tokenizer_info');
    expect(await answer.json()).toMatchObject({ bos_token: '<s>', eos_token: '</s>', model_max_length: 2048 });
  });

  it('gives the tokens of a text, with BOS unless it is not wanted or there already', async () => {
    const { post } = testApp();
    const tokens = async (body: object) =>
      ((await (await post('/tokenize', body)).json()) as { tokens: number[] }).tokens;
    const plain = await tokens({ prompt: 'a b', add_special_tokens: false });
    expect(plain).toHaveLength(2);
    expect(await tokens({ prompt: 'a b' })).toEqual([1, ...plain]);
    expect(await tokens({ prompt: '<s> a b', model: 'edge' })).toEqual([1, ...plain]);
  });

  it('gives the text of tokens', async () => {
    const { post } = testApp();
    const answer = await post('/detokenize', { tokens: [1, 70_000] });
    expect(await answer.json()).toEqual({ prompt: '<s> 70000' });
  });

  it.each<[string, string, object, number]>([
    ['/tokenize', 'prompt', {}, 400],
    ['/tokenize', 'model', { prompt: 'a', model: 'other' }, 404],
    ['/tokenize', 'messages', { prompt: 'a', messages: [] }, 400],
    ['/detokenize', 'tokens', { tokens: 'a' }, 400],
    ['/detokenize', 'tokens[0]', { tokens: [-1] }, 400],
  ])('%s refuses by name: %s', async (path, param, body, status) => {
    const answer = await testApp().post(path, body);
    expect([answer.status, await answer.json()]).toMatchObject([status, { error: { param } }]);
  });

  it('is for those who have the key', async () => {
    const { get } = testApp({ apiKey: 'sk-x' });
    expect((await get('/tokenizer_info')).status).toBe(401);
  });
});
