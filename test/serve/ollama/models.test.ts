import { describe, expect, it } from 'vitest';
import { edgeModelFile, testApp } from '../helpers.js';

interface Listed {
  models: Array<Record<string, unknown>>;
}

const DETAILS = {
  ...{ parent_model: '', format: 'gguf', family: 'llama', families: ['llama'] },
  ...{ parameter_size: '134.52M', quantization_level: 'Q4_1' },
};

describe('what models there are, to Ollama’s clients', () => {
  it('lists the base, customisations as its tags, and the server LLM as a remote model', async () => {
    const { get, post } = testApp({ parts: { file: edgeModelFile } });
    const { model } = (await (await post('/v1/customizations', { coefficients: [1, 0] })).json()) as { model: string };
    const { models } = (await (await get('/api/tags')).json()) as Listed;
    expect(models.map(({ name }) => name)).toEqual(['edge:latest', model, 'big:latest']);
    expect(models[0]).toEqual({
      ...{ name: 'edge:latest', model: 'edge:latest', modified_at: '2023-11-14T22:13:20.000Z', size: 84_000_000 },
      ...{ digest: 'd'.repeat(64), details: DETAILS, capabilities: ['completion', 'tools'] },
    });
    expect(models[1]!.details).toEqual({ ...DETAILS, parent_model: 'edge:latest' });
    expect(models[2]).toMatchObject({ remote_model: 'big', size: 0 });
    expect(new Set(models.map(({ digest }) => digest)).size).toBe(3);
    const { models: running } = (await (await get('/api/ps')).json()) as Listed;
    expect(running.map(({ name }) => name)).toEqual(['edge:latest', model]);
    expect(running[0]).toMatchObject({ context_length: 2048, expires_at: expect.stringMatching(/^2318/) });
  });

  it('shows customisations in the list to those who have the key', async () => {
    const { get, post } = testApp({ apiKey: 'secret' });
    const headers = { authorization: 'Bearer secret' };
    await post('/v1/customizations', { coefficients: [1, 0] }, { headers });
    const count = async (init = {}) => ((await (await get('/api/tags', init)).json()) as Listed).models.length;
    expect([await count(), await count({ headers })]).toEqual([2, 3]);
  });

  it('shows one, by either key, with the context that is served', async () => {
    const { post } = testApp({ parts: { file: edgeModelFile } });
    for (const body of [{ model: 'edge' }, { name: 'edge:latest', verbose: true }]) {
      expect(await (await post('/api/show', body)).json()).toMatchObject({
        details: DETAILS,
        model_info: { 'general.architecture': 'llama', 'llama.context_length': 2048, 'llama.block_count': 30 },
        parameters: 'num_ctx 2048',
        capabilities: ['completion', 'tools'],
      });
    }
    expect((await post('/api/show', { model: 'nope' })).status).toBe(404);
    expect((await post('/api/show', {})).status).toBe(400);
  });

  it('says of which Ollama its API is', async () => {
    expect(await (await testApp().get('/api/version')).json()).toEqual({
      version: expect.stringMatching(/^\d+\.\d+\.\d+$/),
      crayon: expect.stringMatching(/^\d+\./),
    });
  });
});
