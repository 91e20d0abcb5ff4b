import { describe, expect, it } from 'vitest';
import { testApp, textEmbedder } from '../helpers.js';

const embedder = textEmbedder((text) => ({ vector: Float32Array.of(text.length, 0.5), tokens: 2 }));
const app = () => testApp({ parts: { embedder } });

describe('POST /api/embed', () => {
  it('embeds a text, or many', async () => {
    const { post } = app();
    expect(await (await post('/api/embed', { model: 'edge:latest', input: 'abc', truncate: true })).json()).toEqual({
      ...{ model: 'edge:latest', embeddings: [[3, 0.5]], prompt_eval_count: 2 },
      ...{ total_duration: expect.any(Number), load_duration: expect.any(Number) },
    });
    const many = { model: 'edge', input: ['a', 'bc'], keep_alive: '5m' };
    expect(await (await post('/api/embed', many)).json()).toMatchObject({
      embeddings: [
        [1, 0.5],
        [2, 0.5],
      ],
      prompt_eval_count: 4,
    });
    expect(await (await post('/api/embed', { model: 'edge', input: [] })).json()).toMatchObject({ embeddings: [] });
  });

  it('refuses other sizes, other models and what is no text', async () => {
    const { post } = app();
    for (const [body, status] of [
      [{ model: 'edge', input: 'a', dimensions: 1 }, 400],
      [{ model: 'edge', input: [1] }, 400],
      [{ model: 'nope', input: 'a' }, 404],
      [{ model: 'nope', input: [] }, 404],
    ] as const) {
      const answer = await post('/api/embed', body);
      expect([answer.status, await answer.json()]).toEqual([status, { error: expect.any(String) }]);
    }
  });
});

it('POST /api/embeddings embeds one prompt', async () => {
  const { post } = app();
  expect(await (await post('/api/embeddings', { model: 'edge', prompt: 'abcd' })).json()).toEqual({
    embedding: [4, 0.5],
  });
  expect(await (await post('/api/embeddings', { model: 'edge' })).json()).toEqual({ embedding: [] });
});
