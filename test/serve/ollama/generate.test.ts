/** POST /api/chat and /api/generate, over scripted engines. */

import { describe, expect, it } from 'vitest';
import { gate, SERVER, testApp, until, user } from '../helpers.js';

const CREATED = '2023-11-14T22:13:20.000Z';
const lines = async (answer: Response) =>
  (await answer.text())
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
const chat = (more: object = {}) => ({ model: 'edge', messages: user('say hi'), ...more });

describe('POST /api/chat', () => {
  it('streams JSON lines by default, the last one with counts, durations and who answered', async () => {
    const { post, device } = testApp({ device: { answers: 'one two' } });
    const answer = await post('/api/chat', chat({ model: 'edge:latest' }));
    expect(answer.headers.get('content-type')).toBe('application/x-ndjson');
    expect(answer.headers.get('x-crayon-source')).toBe('on_device');
    const documents = await lines(answer);
    const head = { model: 'edge:latest', created_at: CREATED };
    expect(documents.slice(0, -1)).toEqual(
      ['one', ' two'].map((content) => ({ ...head, message: { role: 'assistant', content }, done: false })),
    );
    const last = documents.at(-1);
    expect(last).toEqual({
      ...head,
      message: { role: 'assistant', content: '' },
      done: true,
      done_reason: 'stop',
      total_duration: expect.any(Number),
      load_duration: expect.any(Number),
      prompt_eval_count: 3,
      prompt_eval_duration: expect.any(Number),
      eval_count: 2,
      eval_duration: expect.any(Number),
      crayon: expect.objectContaining({ source: 'on_device', reason: 'accepted' }),
    });
    expect(last.load_duration + last.prompt_eval_duration + last.eval_duration).toBeCloseTo(last.total_duration, -2);
    expect(device.requests[0]!.request.query.prompt).toEqual({ kind: 'chat', messages: user('say hi') });
  });

  it('measures: the wait for the first token is the prompt’s, the rest the answer’s', async () => {
    const wait = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));
    const answers = [{ tokens: 'one two', beforeToken: (i: number) => wait(i === 0 ? 30 : 80) }];
    const { post } = testApp({ device: { answers } });
    for (const stream of [true, false]) {
      const last = (await lines(await post('/api/chat', chat({ stream })))).at(-1);
      expect(last.prompt_eval_duration).toBeGreaterThan(25e6);
      expect(last.eval_duration).toBeGreaterThan(75e6);
      expect(last.eval_duration).toBeGreaterThan(last.prompt_eval_duration);
    }
  });

  it('answers in one document with stream: false, with log-probabilities where they are asked for', async () => {
    const tokens = [{ text: 'a', probabilities: { a: 0.5, b: 0.5 } }];
    const { post } = testApp({ device: { answers: [{ tokens }] } });
    const answer = await post('/api/chat', chat({ stream: false, logprobs: true, top_logprobs: 2 }));
    const entry = (token: string) => ({ token, logprob: Math.log(0.5), bytes: [token.charCodeAt(0)] });
    expect(await answer.json()).toMatchObject({
      message: { role: 'assistant', content: 'a' },
      done: true,
      done_reason: 'stop',
      logprobs: [{ ...entry('a'), top_logprobs: [entry('a'), entry('b')] }],
    });
  });

  it('gives the device Ollama’s defaults, and a server only what was asked for', async () => {
    const config = { server: SERVER, routing: { mode: 'prefer_in_cloud' } };
    const { post, server, device } = testApp({ config });
    const answer = await post('/api/chat', chat({ stream: false }));
    expect(await answer.json()).toMatchObject({ model: 'edge', remote_model: 'big', crayon: { source: 'in_cloud' } });
    expect(server.requests[0]!.request.unasked).toEqual(
      expect.arrayContaining(['temperature', 'topP', 'topK', 'repeatPenalty', 'maxTokens']),
    );
    await post('/api/chat', chat({ stream: false }), { headers: { 'x-crayon-mode': 'only_on_device' } });
    expect(device.requests[0]!.request).toMatchObject({
      ...{ temperature: 0.8, topP: 0.9, topK: 40, repeatPenalty: 1.1, seed: null, stop: [] },
    });
  });

  it('takes options by Ollama’s names, and those of loading a model without effect', async () => {
    const { post, device } = testApp();
    const options = {
      ...{ temperature: 0, top_p: 0.5, seed: 7, num_predict: 5, stop: ['x'], typical_p: 1, mirostat: 0 },
      ...{ num_ctx: 4096, num_gpu: 0, num_thread: 8, use_mmap: true, num_keep: 4, repeat_last_n: 64 },
    };
    await post(
      '/api/chat',
      chat({ options, keep_alive: '5m', truncate: true, think: false, format: '', stream: false }),
    );
    const asked = { temperature: 0, topP: 0.5, seed: 7, maxTokens: 5, stop: ['x'], unasked: ['topK', 'repeatPenalty'] };
    expect(device.requests[0]!.request).toMatchObject(asked);
    const none = { num_predict: -1, seed: -1, top_k: 0, repeat_penalty: 1, stop: [] };
    await post('/api/chat', chat({ options: none, stream: false }));
    expect(device.requests[1]!.request).toMatchObject({ seed: null, stop: [], maxTokens: 1024, repeatPenalty: 1 });
    expect(device.requests[1]!.request.topK).toBeUndefined();
  });

  it('takes the messages that Ollama’s clients send back', async () => {
    const { post, device } = testApp();
    const messages = [
      { role: 'System', content: 'be short', images: [] },
      { role: 'user', content: 'hi' },
      { role: 'assistant', content: 'hello', thinking: '', tool_calls: [], images: null },
      { role: 'user', content: 'again' },
    ];
    expect((await post('/api/chat', chat({ messages, tools: [], stream: false }))).status).toBe(200);
    expect(device.requests[0]!.request.query.prompt).toEqual({
      kind: 'chat',
      messages: messages.map(({ role, content }) => ({ role: role.toLowerCase(), content })),
    });
  });

  it('offers functions, and gives calls and their results ids where Ollama’s clients send none', async () => {
    const { post, device } = testApp();
    const tools = [{ type: 'function', function: { name: 'f', description: 'does', parameters: { type: 'object' } } }];
    const called = (name: string, args: object) => ({ function: { name, arguments: args } });
    const messages = [
      ...user('hi'),
      { role: 'assistant', content: '', tool_calls: [called('f', { a: 1 }), called('g', {})] },
      { role: 'tool', content: 'of g', tool_name: 'g' },
      { role: 'tool', content: 'of f' },
    ];
    const options = { top_k: 5, min_p: 0.1, repeat_penalty: 1.1 };
    expect((await post('/api/chat', chat({ messages, tools, options, format: 'json', stream: false }))).status).toBe(
      200,
    );
    const { query, ...request } = device.requests[0]!.request;
    expect(request).toMatchObject({ topK: 5, minP: 0.1, repeatPenalty: 1.1, format: { type: 'json_object' } });
    const call = (id: string, name: string, args: string) => ({
      ...{ id, type: 'function', function: { name, arguments: args } },
    });
    expect(query.prompt).toMatchObject({
      tools: { list: tools },
      messages: [
        {},
        { role: 'assistant', toolCalls: [call('call_0', 'f', '{"a":1}'), call('call_1', 'g', '{}')] },
        { role: 'tool', content: 'of g', toolCallId: 'call_1' },
        { role: 'tool', content: 'of f', toolCallId: 'call_0' },
      ],
    });
  });

  it('says that the model is loaded where there is nothing to answer', async () => {
    const { post, device } = testApp();
    for (const more of [{ messages: [] }, { messages: [], keep_alive: 0 }]) {
      expect(await (await post('/api/chat', chat(more))).json()).toEqual({
        ...{ model: 'edge', created_at: CREATED, message: { role: 'assistant', content: '' } },
        ...{ done: true, done_reason: 'load' },
      });
    }
    expect(device.requests).toEqual([]);
    expect((await post('/api/chat', { model: 'nope', messages: [] })).status).toBe(404);
  });

  it.each<[object, number, RegExp]>([
    [{ model: 'nope' }, 404, /"nope" does not exist/],
    [{ model: undefined }, 400, /^model is missing/],
    [{ messages: 'hi' }, 400, /^messages is "hi", expected a list/],
    [{ messages: [{ role: 'user', content: 'x', images: ['aGk='] }] }, 400, /messages\[0\]\.images/],
    [{ think: true }, 400, /^think is not supported/],
    [{ format: 'xml' }, 400, /^format is not "json"/],
    [{ options: { temperature: 9 } }, 400, /^temperature is 9, expected a number from 0 to 2/],
    [{ options: { mirostat: 2 } }, 400, /^options\.mirostat is not supported/],
    [{ options: { temprature: 1 } }, 400, /options\.temprature\. Did you mean temperature\?/],
    [{ stream: 'yes' }, 400, /^stream is "yes"/],
    [{ crayon: { mode: 'somewhere' } }, 400, /^crayon\.mode/],
  ])('refuses in Ollama’s shape: %j', async (change, status, message) => {
    const answer = await testApp().post('/api/chat', chat(change));
    expect([answer.status, await answer.json()]).toEqual([status, { error: expect.stringMatching(message) }]);
  });

  it('ends a stream that fails with an error line, and keeps a silent one alive with empty pieces', async () => {
    const { opened, open } = gate();
    const answers = [
      { tokens: 'one two', fail: { at: 1, error: 'out-of-memory' as const } },
      { tokens: 'one two', beforeToken: (i: number) => (i === 1 ? opened : undefined) },
    ];
    const { post, app } = testApp({ device: { answers }, keepAliveMs: 5 });
    expect((await lines(await post('/api/chat', chat()))).at(-1)).toEqual({ error: expect.stringMatching(/engine/) });
    const answer = await post('/api/chat', chat());
    const reader = answer.body!.pipeThrough(new TextDecoderStream()).getReader();
    const read: string[] = [];
    while (read.length < 4) read.push((await reader.read()).value!);
    open();
    for (let next = await reader.read(); !next.done; next = await reader.read()) read.push(next.value);
    const documents = read
      .join('')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(documents.map(({ message }) => message.content).join('')).toBe('one two');
    expect(documents.filter(({ message, done }) => !done && message.content === '').length).toBeGreaterThanOrEqual(2);
    await until(() => app.running === 0, 'its end');
  });

  it('asks for the key', async () => {
    const { post, get } = testApp({ apiKey: 'secret' });
    const answer = await post('/api/chat', chat());
    expect([answer.status, await answer.json()]).toEqual([401, { error: expect.stringMatching(/API key/) }]);
    expect((await get('/api/version')).status).toBe(200);
    expect((await get('/api/ps')).status).toBe(401);
  });
});

describe('POST /api/generate', () => {
  it('puts the prompt, and a system text, as a conversation', async () => {
    const { post, device } = testApp({ device: { answers: 'one two' } });
    const documents = await lines(await post('/api/generate', { model: 'edge', prompt: 'hi', system: 'be short' }));
    expect(documents.map(({ response }) => response)).toEqual(['one', ' two', '']);
    expect(documents.at(-1)).toMatchObject({ done: true, done_reason: 'stop', eval_count: 2 });
    expect(device.requests[0]!.request.query.prompt).toEqual({
      kind: 'chat',
      messages: [{ role: 'system', content: 'be short' }, ...user('hi')],
    });
  });

  it('puts a raw prompt as it stands, with as many tokens as fit', async () => {
    const { post, device } = testApp();
    const answer = await post('/api/generate', { model: 'edge', prompt: '[INST] hi', raw: true, stream: false });
    expect(await answer.json()).toMatchObject({ response: 'one two three', done: true });
    const { query, maxTokens } = device.requests[0]!.request;
    expect([query.prompt, maxTokens]).toEqual([{ kind: 'text', text: '[INST] hi' }, 1024]);
  });

  it('says that the model is loaded where there is no prompt', async () => {
    const answer = await testApp().post('/api/generate', { model: 'edge' });
    expect(await answer.json()).toMatchObject({ response: '', done: true, done_reason: 'load' });
  });

  it.each([
    [{ suffix: 'end' }, /^suffix/],
    [{ template: '{{ .Prompt }}' }, /^template .* raw: true/],
    [{ context: [1, 2] }, /^context .* \/api\/chat/],
    [{ images: ['aGk='] }, /^images/],
    [{ raw: true, system: 'x' }, /^system/],
  ])('refuses by name: %j', async (change, message) => {
    const answer = await testApp().post('/api/generate', { model: 'edge', prompt: 'hi', ...change });
    expect([answer.status, await answer.json()]).toEqual([400, { error: expect.stringMatching(message) }]);
  });
});
