import { describe, expect, it } from 'vitest';
import { fixedAdapters } from '../../src/serve/customizations/adapter-set.js';
import { ADAPTER, testApp, textEmbedder, user } from './helpers.js';

const CHAT = '/v1/chat/completions';

describe('routes', () => {
  it('says whether the model is loaded', async () => {
    const test = testApp({ isLoading: true });
    for (const path of ['/health', '/v1/health', '/v1/models', CHAT]) {
      const answer = path === CHAT ? await test.post(path, {}) : await test.get(path);
      expect([path, answer.status, await answer.json()]).toMatchObject([
        path,
        503,
        { error: { type: 'unavailable_error', code: 'loading' } },
      ]);
    }
    expect((await test.get('/metrics')).status).toBe(200);
    test.ready();
    for (const path of ['/health', '/v1/health']) {
      const answer = await test.get(path);
      expect([answer.status, await answer.json()]).toEqual([200, { status: 'ok' }]);
    }
  });

  it('lists the base, the customisations and the server’s model, with root and parent', async () => {
    const { get, post } = testApp();
    const made = (await (await post('/v1/customizations', { coefficients: [1, 0] })).json()) as { id: string };
    const { object, data } = (await (await get('/v1/models')).json()) as { object: string; data: object[] };
    const card = { object: 'model', created: 1_700_000_000 };
    const own = { ...card, id: `edge:${made.id}`, owned_by: 'crayon', root: 'edge', parent: 'edge' };
    expect(object).toBe('list');
    expect(data).toEqual([
      { ...card, id: 'edge', owned_by: 'crayon', root: 'edge', parent: null },
      own,
      { ...card, id: 'big', owned_by: 'server', root: 'big', parent: null },
    ]);
    expect(await (await get(`/v1/models/edge%3A${made.id}`)).json()).toEqual(own);
    expect((await get('/v1/models/nope')).status).toBe(404);
  });

  it.each([
    ['/v1/responses/resp_1', 'POST /v1/responses'],
    ['/v1/messages', 'POST /v1/chat/completions'],
    ['/v1/threads/x/runs', 'POST /v1/chat/completions'],
    ['/completion', 'POST /v1/completions'],
    ['/props', 'GET /v1/models'],
    ['/v1/audio/speech', 'no such API'],
    ['/chat/completions', 'did you mean /v1/chat/completions.'],
    ['/v1/v1/chat/completions', 'did you mean /v1/chat/completions.'],
    ['/v1/chat/completions/', 'did you mean /v1/chat/completions.'],
    ['/v1/chat/completion', 'did you mean /v1/chat/completions.'],
  ])('says for %s what to use instead: %s', async (path, instead) => {
    const answer = await testApp().post(path, {});
    expect([answer.status, await answer.json()]).toEqual([
      404,
      {
        error: {
          message: expect.stringContaining(instead),
          type: 'invalid_request_error',
          param: null,
          code: 'unknown_url',
        },
      },
    ]);
  });

  it('answers an unknown path with 404, a wrong method with 405 and Allow', async () => {
    const { get, post } = testApp();
    for (const path of [
      '/v1',
      '/v1/chat',
      '/v1/customizations/',
      '/v1/customizations/%zz',
      '/v1/models/a/b',
      '/../x',
    ]) {
      expect([path, (await get(path)).status]).toEqual([path, 404]);
    }
    const allow = async (answer: Response) => [answer.status, answer.headers.get('allow')];
    expect(await allow(await get(CHAT))).toEqual([405, 'POST']);
    expect(await allow(await post('/health', {}))).toEqual([405, 'GET, HEAD']);
    expect(await allow(await get('/lora-adapters', { method: 'DELETE' }))).toEqual([405, 'GET, HEAD, POST']);
    expect(await allow(await get(CHAT, { method: 'OPTIONS' }))).toEqual([405, 'POST']);
    expect((await get('/health', { method: 'HEAD' })).status).toBe(200);
  });

  it('sends no CORS header', async () => {
    const answer = await testApp().get('/v1/models', { headers: { origin: 'http://evil.example' } });
    expect([...answer.headers.keys()].filter((name) => name.startsWith('access-control'))).toEqual([]);
  });

  it('refuses bodies that are not JSON objects, of another type or too large', async () => {
    const { post } = testApp({ config: { limits: { body_bytes: 1024 } } });
    const status = async (body: string, headers: Record<string, string> = {}) => {
      const answer = await post(CHAT, body, { headers });
      const { error } = (await answer.json()) as { error: { message: string; code: string } };
      return [answer.status, error.code, error.message.includes('secret')];
    };
    expect(await status('{"secret": ')).toEqual([400, 'invalid_json', false]);
    expect(await status('')).toEqual([400, 'invalid_json', false]);
    expect(await status('"secret"')).toEqual([400, 'invalid_json', false]);
    expect(await status('[]')).toEqual([400, 'invalid_json', false]);
    expect(await status('null')).toEqual([400, 'invalid_json', false]);
    expect(await status('['.repeat(1000))).toEqual([400, 'invalid_json', false]);
    expect(await status('{}', { 'content-type': 'text/plain' })).toEqual([415, 'unsupported_media_type', false]);
    expect(await status('{}', { 'content-encoding': 'gzip' })).toEqual([415, 'unsupported_encoding', false]);
    expect(await status(`{"a": "${'x'.repeat(2000)}"}`)).toEqual([413, 'request_too_large', false]);
  });

  it.each([
    ['"max_tokens": 1, "max_tokens": 3', 'the key "max_tokens" stands twice in one object'],
    [
      '"crayon": {"mode": "only_on_device", "m\\u006fde": "only_in_cloud"}',
      'the key "mode" stands twice in one object',
    ],
    [`"x": ${'['.repeat(300)}${']'.repeat(300)}`, 'nested more than 200 levels deep'],
  ])('refuses a body by what is wrong with it: %s', async (fields, why) => {
    const answer = await testApp().post(CHAT, `{"model": "edge", "messages": [], ${fields}}`);
    const { error } = (await answer.json()) as { error: { message: string; code: string } };
    expect([answer.status, error.code]).toEqual([400, 'invalid_json']);
    expect(error.message).toContain(why);
  });

  it('stops reading a body of undeclared length at the limit', async () => {
    const { get } = testApp({ config: { limits: { body_bytes: 4096 } } });
    let pulled = 0;
    let cancelled = false;
    const body = new ReadableStream<Uint8Array>({
      pull: (controller) => {
        pulled++;
        controller.enqueue(new Uint8Array(1024));
      },
      cancel: () => {
        cancelled = true;
      },
    });
    const init = { method: 'POST', body, duplex: 'half', headers: { 'content-type': 'application/json' } };
    expect((await get(CHAT, init as RequestInit)).status).toBe(413);
    expect(cancelled).toBe(true);
    expect(pulled).toBeLessThan(10);
  });

  it('counts in /metrics', async () => {
    const { get, post } = testApp({ device: { answers: 'one two three' } });
    await post(CHAT, { model: 'edge', messages: user('hi there') });
    await post(CHAT, { model: 'edge', messages: user('hi'), crayon: { mode: 'only_in_cloud' } });
    await post(CHAT, { model: 'nope', messages: user('hi') });
    const answer = await get('/metrics');
    expect(answer.headers.get('content-type')).toMatch(/^text\/plain/);
    const lines = (await answer.text()).split('\n');
    for (const line of [
      'crayon_requests_total{route="chat",status="200"} 2',
      'crayon_requests_total{route="chat",status="404"} 1',
      'crayon_routes_total{mode="prefer_on_device",source="on_device",reason="accepted"} 1',
      'crayon_routes_total{mode="only_in_cloud",source="in_cloud",reason="mode"} 1',
      'crayon_tokens_total{source="on_device",kind="prompt"} 3',
      'crayon_tokens_total{source="on_device",kind="completion"} 3',
      'crayon_time_to_first_token_seconds_count{source="on_device"} 1',
      'crayon_edge_capacity 4',
      'crayon_up 1',
    ]) {
      expect(lines).toContain(line);
    }
  });
});

describe('/lora-adapters', () => {
  it('shows names and no paths, and sets the scales of all', async () => {
    const second = { id: 'bbbb', path: '/secret/place/b.gguf', name: 'other' };
    const { get, post, device } = testApp({ adapters: fixedAdapters([ADAPTER, second]) });
    const list = async () => await (await get('/lora-adapters')).json();
    expect(await list()).toEqual([
      { id: 0, path: 'my-adapter', scale: 1 },
      { id: 1, path: 'other', scale: 1 },
    ]);
    expect((await post('/lora-adapters', [{ id: 1, scale: 0.5 }])).status).toBe(200);
    expect(await list()).toMatchObject([{ scale: 0 }, { scale: 0.5 }]);
    await post(CHAT, { model: 'edge', messages: user('hi') });
    expect(device.requests[0]!.request.adapters).toEqual([{ id: 'bbbb', path: second.path, scale: 0.5 }]);
  });

  it.each<[string, unknown]>([
    ['[0].id', [{ id: 1, scale: 1 }]],
    ['[0].id', [{ scale: 1 }]],
    ['[0].scale', [{ id: 0 }]],
    ['[0].scale', [{ id: 0, scale: '1' }]],
    ['[0].scale', [{ id: 0, scale: 1e9 }]],
    ['[0]', [3]],
    [
      '[1].id',
      [
        { id: 0, scale: 1 },
        { id: 0, scale: 2 },
      ],
    ],
  ])('refuses %s', async (param, body) => {
    const { post, parts } = testApp();
    const answer = await post('/lora-adapters', body);
    expect([answer.status, await answer.json()]).toMatchObject([400, { error: { param } }]);
    expect(parts.adapters.list()).toMatchObject([{ scale: 1 }]);
  });

  it('refuses what is no list', async () => {
    expect((await testApp().post('/lora-adapters', { id: 0, scale: 1 })).status).toBe(400);
  });
});

describe('POST /v1/embeddings', () => {
  const embedder = textEmbedder((text) => {
    return { vector: Float32Array.of(text.length, 0.5), tokens: text.split(' ').length };
  });

  it('embeds one text or several, as numbers or base64', async () => {
    const { post } = testApp({ parts: { embedder } });
    const floats = await post('/v1/embeddings', { model: 'edge', input: ['ab', 'a b c'] });
    expect(await floats.json()).toEqual({
      object: 'list',
      data: [
        { object: 'embedding', index: 0, embedding: [2, 0.5] },
        { object: 'embedding', index: 1, embedding: [5, 0.5] },
      ],
      model: 'edge',
      usage: { prompt_tokens: 4, total_tokens: 4 },
    });
    const coded = await post('/v1/embeddings', {
      model: 'edge',
      input: 'ab',
      encoding_format: 'base64',
      dimensions: 2,
    });
    const { data } = (await coded.json()) as { data: [{ embedding: string }] };
    const bytes = Buffer.from(data[0].embedding, 'base64');
    expect([bytes.readFloatLE(0), bytes.readFloatLE(4), bytes.length]).toEqual([2, 0.5, 8]);
  });

  it.each<[string, object]>([
    ['input', { input: undefined }],
    ['input', { input: [] }],
    ['input', { input: '  ' }],
    ['input[1]', { input: ['a', ''] }],
    ['input[0]', { input: [1, 2] }],
    ['input[0]', { input: [[1, 2]] }],
    ['encoding_format', { encoding_format: 'hex' }],
    ['dimensions', { dimensions: 3 }],
    ['bogus', { bogus: 3 }],
  ])('refuses %s', async (param, change) => {
    const { post } = testApp({ parts: { embedder } });
    const answer = await post('/v1/embeddings', { model: 'edge', input: 'x', ...change });
    expect([answer.status, await answer.json()]).toMatchObject([400, { error: { param } }]);
  });
});
