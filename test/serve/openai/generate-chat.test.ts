import { describe, expect, it } from 'vitest';
import { CrayonError } from '../../../src/core/errors.js';
import { SERVER, sseData, testApp, user } from '../helpers.js';

const CRAYON = { source: 'on_device', reason: 'accepted', score: null, threshold: null };

describe('POST /v1/chat/completions', () => {
  it('answers in one document', async () => {
    const { post, device } = testApp();
    const answer = await post('/v1/chat/completions', { model: 'edge', messages: user('hello you') });
    expect(answer.status).toBe(200);
    expect(await answer.json()).toEqual({
      id: 'chatcmpl-1',
      object: 'chat.completion',
      created: 1_700_000_000,
      model: 'edge',
      choices: [
        {
          index: 0,
          message: { role: 'assistant', content: 'one two three', refusal: null },
          logprobs: null,
          finish_reason: 'stop',
        },
      ],
      usage: { prompt_tokens: 3, completion_tokens: 3, total_tokens: 6 },
      crayon: { ...CRAYON, signals: { prompt_tokens: 3, max_tokens: 1024 } },
    });
    expect(Object.fromEntries(answer.headers)).toEqual({
      'cache-control': 'no-store',
      'content-type': 'application/json',
      'x-crayon-reason': 'accepted',
      'x-crayon-source': 'on_device',
      'x-request-id': 'req_1',
    });
    expect(device.requests[0]!.request).toMatchObject({
      query: { prompt: { kind: 'chat', messages: user('hello you') } },
      temperature: 1,
      topP: 1,
      seed: null,
      stop: [],
      topLogprobs: null,
      adapters: [{ id: 'aaaa', path: '/secret/place/aaaa.lora.gguf', scale: 1 }],
    });
  });

  it('streams exactly these bytes', async () => {
    const { post } = testApp({ device: { answers: 'one two' } });
    const body = { model: 'edge', messages: user('hi'), max_tokens: 9, stream: true };
    const answer = await post('/v1/chat/completions', body);
    expect(answer.headers.get('content-type')).toBe('text/event-stream; charset=utf-8');
    expect(answer.headers.get('x-crayon-source')).toBe('on_device');
    const head = '"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"model":"edge"';
    const crayon =
      '"crayon":{"source":"on_device","reason":"accepted","score":null,"threshold":null,"signals":{"prompt_tokens":2,"max_tokens":9}}';
    expect(await answer.text()).toBe(
      [
        `{${head},"choices":[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}],${crayon}}`,
        `{${head},"choices":[{"index":0,"delta":{"content":"one"},"logprobs":null,"finish_reason":null}]}`,
        `{${head},"choices":[{"index":0,"delta":{"content":" two"},"logprobs":null,"finish_reason":null}]}`,
        `{${head},"choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}],${crayon}}`,
        '[DONE]',
      ]
        .map((data) => `data: ${data}\n\n`)
        .join(''),
    );
  });

  it('sends the usage as a chunk of its own, only when asked', async () => {
    const { post } = testApp({ device: { answers: [{ tokens: 'one two', cachedTokens: 2 }] } });
    const body = { model: 'edge', messages: user('hi'), stream: true, stream_options: { include_usage: true } };
    const chunks = sseData(await (await post('/v1/chat/completions', body)).text());
    const parsed = chunks.slice(0, -1).map((data) => JSON.parse(data));
    expect(parsed.slice(0, -1).every((chunk) => chunk.usage === null && chunk.choices.length === 1)).toBe(true);
    expect(parsed.at(-1)).toMatchObject({
      choices: [],
      usage: {
        prompt_tokens: 2,
        completion_tokens: 2,
        total_tokens: 4,
        prompt_tokens_details: { cached_tokens: 2 },
      },
    });
    expect(chunks.at(-1)).toBe('[DONE]');
  });

  it('gives log-probabilities, whole and streamed alike', async () => {
    const probabilities = { yes: 0.75, no: 0.25 };
    const { post, device } = testApp({ device: { answers: [{ tokens: [{ text: 'yes', probabilities }] }] } });
    const body = { model: 'edge', messages: user('hi'), logprobs: true, top_logprobs: 2 };
    const entry = (token: string, p: number) => ({ token, logprob: Math.log(p), bytes: [...Buffer.from(token)] });
    const content = [{ ...entry('yes', 0.75), top_logprobs: [entry('yes', 0.75), entry('no', 0.25)] }];
    const whole = (await (await post('/v1/chat/completions', body)).json()) as { choices: object[] };
    expect(whole.choices[0]).toMatchObject({ logprobs: { content, refusal: null } });
    const streamed = sseData(await (await post('/v1/chat/completions', { ...body, stream: true })).text());
    expect(JSON.parse(streamed[1]!).choices[0]).toMatchObject({ delta: { content: 'yes' }, logprobs: { content } });
    expect(device.requests.map(({ request }) => request.topLogprobs)).toEqual([2, 2]);
  });

  it('ends at a stop text and at max_tokens, and says which', async () => {
    const { post } = testApp({ device: { answers: 'one two three' } });
    const ask = async (more: object) => {
      const answer = await post('/v1/chat/completions', { model: 'edge', messages: user('hi'), ...more });
      const { choices } = (await answer.json()) as {
        choices: [{ message: { content: string }; finish_reason: string }];
      };
      return [choices[0].message.content, choices[0].finish_reason];
    };
    expect(await ask({ stop: ' three' })).toEqual(['one two', 'stop']);
    expect(await ask({ stop: ['zzz', ' two'] })).toEqual(['one', 'stop']);
    expect(await ask({ max_tokens: 2 })).toEqual(['one two', 'length']);
    expect(await ask({ max_completion_tokens: 1 })).toEqual(['one', 'length']);
  });

  it('joins content parts, and takes a developer’s message for the system’s', async () => {
    const { post, device } = testApp();
    const messages = [
      { role: 'developer', content: 'be brief' },
      {
        role: 'user',
        content: [
          { type: 'text', text: 'a' },
          { type: 'text', text: 'b' },
        ],
      },
      { role: 'assistant', content: 'c', refusal: null, annotations: [], tool_calls: [] },
      { role: 'user', content: '' },
    ];
    expect((await post('/v1/chat/completions', { model: 'edge', messages })).status).toBe(200);
    expect(device.requests[0]!.request.query.prompt).toEqual({
      kind: 'chat',
      messages: [
        { role: 'system', content: 'be brief' },
        { role: 'user', content: 'a\nb' },
        { role: 'assistant', content: 'c' },
        { role: 'user', content: '' },
      ],
    });
  });

  it('takes a name of who speaks, and gives it to whoever answers', async () => {
    const { post, device, server } = testApp();
    const messages = [{ role: 'user', content: 'hi', name: 'planner_1' }];
    const modes = ['only_on_device', 'only_in_cloud'];
    for (const mode of modes) await post('/v1/chat/completions', { model: 'edge', messages, crayon: { mode } });
    const asked = [device, server].map(({ requests }) => requests[0]!.request.query.prompt);
    expect(asked).toEqual([
      { kind: 'chat', messages },
      { kind: 'chat', messages },
    ]);
  });

  it('takes values of headers in any case', async () => {
    const { post } = testApp();
    const headers = {
      'content-type': 'Application/JSON; Charset="UTF-8"',
      'content-encoding': 'Identity',
      'x-crayon-mode': 'Only_In_Cloud',
    };
    const answer = await post('/v1/chat/completions', { model: 'edge', messages: user('hi') }, { headers });
    expect([answer.status, answer.headers.get('x-crayon-source')]).toEqual([200, 'in_cloud']);
    const others: Array<Record<string, string>> = [
      { 'content-type': 'application/json; charset=latin1' },
      { 'content-type': 'text/plain' },
      { 'content-encoding': 'GZIP' },
      { 'content-encoding': 'identity, br' },
    ];
    for (const other of others) {
      expect(
        (await post('/v1/chat/completions', { model: 'edge', messages: user('hi') }, { headers: other })).status,
      ).toBe(415);
    }
  });

  it('takes as many stop texts as the configuration says', async () => {
    const stop = Array.from({ length: 14 }, (_, i) => `</${i}>`);
    const status = async (stops?: number) =>
      (
        await testApp({ config: { limits: stops === undefined ? {} : { stops } } }).post('/v1/chat/completions', {
          model: 'edge',
          messages: user('hi'),
          stop,
        })
      ).status;
    expect([await status(), await status(13)]).toEqual([200, 400]);
  });

  it('asks for as many tokens as the context has room for where the request names none', async () => {
    const { post, device } = testApp({ device: { contextTokens: 20 }, server: null });
    await post('/v1/chat/completions', { model: 'edge', messages: user('one two three') });
    expect(device.requests[0]!.request.maxTokens).toBe(16);
    const limited = testApp({ config: { limits: { max_tokens: 5 } } });
    await limited.post('/v1/chat/completions', { model: 'edge', messages: user('x'), max_tokens: 50 });
    await limited.post('/v1/chat/completions', { model: 'edge', messages: user('x') });
    expect(limited.device.requests.map(({ request }) => request.maxTokens)).toEqual([5, 5]);
  });

  it('goes to the server where the prompt does not fit the device', async () => {
    const { post, device, server } = testApp({ device: { contextTokens: 4 } });
    const answer = await post('/v1/chat/completions', { model: 'edge', messages: user('one two three four five') });
    expect(await answer.json()).toMatchObject({ model: 'big', crayon: { source: 'in_cloud', reason: 'context' } });
    expect([device.requests.length, server.requests.length]).toEqual([0, 1]);
    const only = await post('/v1/chat/completions', {
      model: 'edge',
      messages: user('one two three four five'),
      crayon: { mode: 'only_on_device' },
    });
    expect(only.status).toBe(400);
    expect(await only.json()).toMatchObject({ error: { code: 'context_length_exceeded', param: 'messages' } });
  });

  it.each(['crayon', 'header', 'config'])('takes the mode from the %s', async (from) => {
    const mode = 'only_in_cloud';
    const { post, device } = testApp({ config: from === 'config' ? { routing: { mode }, server: SERVER } : {} });
    const body = { model: 'edge', messages: user('hi'), ...(from === 'crayon' ? { crayon: { mode } } : {}) };
    const headers: Record<string, string> = from === 'header' ? { 'x-crayon-mode': mode } : {};
    const answer = await post('/v1/chat/completions', body, { headers });
    expect(answer.headers.get('x-crayon-source')).toBe('in_cloud');
    expect(answer.headers.get('x-crayon-reason')).toBe('mode');
    expect(await answer.json()).toMatchObject({ model: 'big', choices: [{ message: { content: 'from afar' } }] });
    expect(device.requests).toEqual([]);
    expect(device.tokenized).toEqual([]);
  });

  it('refuses a mode that is unknown, given twice or locked', async () => {
    const { post } = testApp();
    const body = { model: 'edge', messages: user('hi') };
    const status = async (app: typeof post, more: object, headers = {}) => {
      const answer = await app('/v1/chat/completions', { ...body, ...more }, { headers });
      return [answer.status, ((await answer.json()) as { error?: { param: string } }).error?.param];
    };
    expect(await status(post, { crayon: { mode: 'cloud' } })).toEqual([400, 'crayon.mode']);
    expect(await status(post, { crayon: { moed: 'x' } })).toEqual([400, 'crayon.moed']);
    expect(await status(post, {}, { 'x-crayon-mode': 'no' })).toEqual([400, 'x-crayon-mode']);
    const twice = { crayon: { mode: 'only_on_device' } };
    expect(await status(post, twice, { 'x-crayon-mode': 'only_in_cloud' })).toEqual([400, 'crayon.mode']);
    const locked = testApp({ config: { routing: { mode: 'only_on_device', mode_per_request: false } } });
    expect(await status(locked.post, { crayon: { mode: 'only_in_cloud' } })).toEqual([400, 'crayon.mode']);
    expect((await status(locked.post, twice))[0]).toBe(200);
    expect(locked.server.requests).toEqual([]);
  });

  it('holds an answer to a format, whoever gives it; a schema that the device makes no grammar of goes to the server', async () => {
    const refusal = new CrayonError(
      'format-unsupported',
      'response_format.json_schema.schema.pattern is not supported',
    );
    const answers = ({ format }: { format?: unknown }) =>
      format === undefined || format === null || JSON.stringify(format).includes('"x"')
        ? 'free'
        : ({ tokens: [], fail: { at: 'open', error: refusal } } as const);
    const { post, device, server } = testApp({ device: { answers } });
    const schema = { type: 'object', properties: { a: { type: 'string', title: null } }, 'x-more': null };
    const asked = (name: string) => ({
      type: 'json_schema',
      json_schema: { name, description: 'd', strict: true, schema },
    });
    const ask = (format: object, mode = 'prefer_on_device') =>
      post('/v1/chat/completions', { model: 'edge', messages: user('hi'), response_format: format, crayon: { mode } });

    expect((await ask(asked('x'))).headers.get('x-crayon-source')).toBe('on_device');
    expect(device.requests.at(-1)!.request.format).toEqual(asked('x'));
    const passedOn = await ask(asked('y'));
    expect(passedOn.headers.get('x-crayon-reason')).toBe('device-failed');
    expect(server.requests.at(-1)!.request.format).toEqual(asked('y'));
    const refused = await ask(asked('y'), 'only_on_device');
    expect([refused.status, await refused.json()]).toMatchObject([
      400,
      { error: { param: 'response_format', code: 'unsupported_value', message: expect.stringContaining('pattern') } },
    ]);
    await ask({ type: 'text' });
    expect(device.requests.at(-1)!.request.format).toBeNull();
  });

  const F = { type: 'function', function: { name: 'f', description: 'd', parameters: { type: 'object' } } };
  const calling = {
    tokens: [
      { text: 'So:' },
      { text: '', calls: [{ index: 0, id: 'call_a', name: 'f', arguments: '' }] },
      { text: '', calls: [{ index: 0, arguments: '{"x":' }] },
      {
        text: '',
        calls: [
          { index: 0, arguments: ' 1}' },
          { index: 1, id: 'call_b', name: 'f', arguments: '{}' },
        ],
      },
    ],
    finish: 'tool_calls',
  } as const;
  const CALLS = [
    { id: 'call_a', type: 'function', function: { name: 'f', arguments: '{"x": 1}' } },
    { id: 'call_b', type: 'function', function: { name: 'f', arguments: '{}' } },
  ];

  it('offers functions and passes calls on, whole and streamed; results go back', async () => {
    const { post, device } = testApp({ device: { answers: () => calling } });
    const body = { model: 'edge', messages: user('hi'), tools: [F], tool_choice: 'auto', parallel_tool_calls: true };
    const answer = (await (await post('/v1/chat/completions', body)).json()) as { choices: object[] };
    expect(answer.choices).toEqual([
      {
        index: 0,
        message: { role: 'assistant', content: 'So:', refusal: null, tool_calls: CALLS },
        logprobs: null,
        finish_reason: 'tool_calls',
      },
    ]);
    const { prompt } = device.requests[0]!.request.query;
    expect(prompt).toEqual({
      kind: 'chat',
      messages: user('hi'),
      tools: { list: [F], choice: 'auto', parallel: true },
    });

    const streamed = await (await post('/v1/chat/completions', { ...body, stream: true })).text();
    const chunks = [...streamed.matchAll(/^data: (\{.*)$/gm)].map(([, data]) => JSON.parse(data!).choices[0]);
    expect(chunks.map(({ delta }) => delta)).toEqual([
      { role: 'assistant', content: '' },
      { content: 'So:' },
      { tool_calls: [{ index: 0, id: 'call_a', type: 'function', function: { name: 'f', arguments: '' } }] },
      { tool_calls: [{ index: 0, function: { arguments: '{"x":' } }] },
      {
        tool_calls: [
          { index: 0, function: { arguments: ' 1}' } },
          { index: 1, id: 'call_b', type: 'function', function: { name: 'f', arguments: '{}' } },
        ],
      },
      {},
    ]);
    expect(chunks.at(-1).finish_reason).toBe('tool_calls');

    const results = CALLS.map(({ id }) => ({ role: 'tool', tool_call_id: id, content: 'r' }));
    const messages = [...user('hi'), { role: 'assistant', content: null, tool_calls: CALLS }, ...results];
    expect((await post('/v1/chat/completions', { ...body, messages })).status).toBe(200);
    expect(device.requests.at(-1)!.request.query.prompt).toMatchObject({
      messages: [
        { role: 'user', content: 'hi' },
        { role: 'assistant', content: '', toolCalls: CALLS },
        { role: 'tool', content: 'r', toolCallId: 'call_a' },
        { role: 'tool', content: 'r', toolCallId: 'call_b' },
      ],
    });
  });

  it('gives n answers, whole and streamed, each of a seed of its own; the prompt is counted once', async () => {
    const { post, device } = testApp({ device: { answers: ({ seed }) => `answer ${seed}` } });
    const body = { model: 'edge', messages: user('hi'), n: 3, seed: 5 };
    const answer = await post('/v1/chat/completions', body);
    const { object, choices, usage } = (await answer.json()) as { object: string; choices: object[]; usage: object };
    const message = (i: number) => ({ role: 'assistant', content: `answer ${5 + i}`, refusal: null });
    expect(choices).toMatchObject(
      [0, 1, 2].map((index) => ({
        index,
        message: message(index),
        finish_reason: 'stop',
        crayon: { source: 'on_device' },
      })),
    );
    expect([object, usage]).toMatchObject([
      'chat.completion',
      { prompt_tokens: 2, completion_tokens: 6, total_tokens: 8 },
    ]);
    const options = { stream: true, stream_options: { include_usage: true } };
    const stream = await post('/v1/chat/completions', { ...body, ...options });
    // Each may go another way: who gave it stands in its first chunk and its last, and in no header.
    expect(stream.headers.get('x-crayon-source')).toBeNull();
    const streamed = await stream.text();
    const chunks = [...streamed.matchAll(/^data: (\{.*)$/gm)].map(([, data]) => JSON.parse(data!));
    for (const index of [0, 1, 2]) {
      const its = chunks.flatMap((chunk) => chunk.choices).filter((choice) => choice.index === index);
      expect(its.map(({ delta }) => delta.content ?? '').join('')).toBe(`answer ${5 + index}`);
      expect(its.at(-1).finish_reason).toBe('stop');
      const whose = chunks.filter(({ choices }) => choices[0]?.index === index).map(({ crayon }) => crayon?.source);
      expect([whose[0], whose.at(-1)]).toEqual(['on_device', 'on_device']);
    }
    expect(chunks.at(-1)).toMatchObject({ choices: [], usage: { prompt_tokens: 2, completion_tokens: 6 } });
    expect(device.requests.filter(({ outcome }) => outcome === 'running')).toEqual([]);
  });

  it('tells the engine of penalties and cuts; token ids of logit_bias are the device’s, unless the server alone is asked', async () => {
    const { post, device, server } = testApp();
    const asked = {
      top_k: 4,
      min_p: 0.1,
      repeat_penalty: 1.1,
      presence_penalty: 0.5,
      frequency_penalty: -1,
      logit_bias: { 7: -100, 8: 2.5 },
    };
    const given = {
      topK: 4,
      minP: 0.1,
      repeatPenalty: 1.1,
      presencePenalty: 0.5,
      frequencyPenalty: -1,
      logitBias: new Map([
        [7, -100],
        [8, 2.5],
      ]),
    };
    await post('/v1/chat/completions', {
      model: 'edge',
      messages: user('hi'),
      ...asked,
      crayon: { mode: 'prefer_in_cloud' },
    });
    expect(device.requests.at(-1)!.request).toMatchObject(given);
    expect(server.requests).toEqual([]);
    await post('/v1/chat/completions', {
      model: 'edge',
      messages: user('hi'),
      ...asked,
      crayon: { mode: 'only_in_cloud' },
    });
    expect(server.requests.at(-1)!.request).toMatchObject(given);
  });

  it('takes what changes nothing', async () => {
    const { post } = testApp();
    const harmless = {
      n: 1,
      user: 'me',
      metadata: { a: 'b' },
      store: false,
      presence_penalty: 0,
      frequency_penalty: 0,
      logit_bias: {},
      response_format: { type: 'text' },
      tools: [],
      tool_choice: null,
      seed: null,
      stop: null,
      top_p: 0.9,
      temperature: 0,
      modalities: ['text'],
      service_tier: 'auto',
    };
    const answer = await post('/v1/chat/completions', { model: 'edge', messages: user('hi'), ...harmless });
    expect(answer.status).toBe(200);
  });

  it.each<[string, object]>([
    ['model', { model: undefined }],
    ['model', { model: 3 }],
    ['messages', { messages: undefined }],
    ['messages', { messages: [] }],
    ['messages', { messages: 'hi' }],
    ['messages[0]', { messages: ['hi'] }],
    ['messages[0].role', { messages: [{ content: 'x' }] }],
    ['messages[0].role', { messages: [{ role: 'function', content: 'x' }] }],
    ['messages[0].content', { messages: [{ role: 'user' }] }],
    ['messages[0].content', { messages: [{ role: 'user', content: 7 }] }],
    ['messages[0].content', { messages: [{ role: 'user', content: [] }] }],
    ['messages[0].content', { messages: [{ role: 'user', content: 'a\0b' }] }],
    ['messages[0].content', { messages: [{ role: 'user', content: '\ud800' }] }],
    ['messages[0].content[0].type', { messages: [{ role: 'user', content: [{ type: 'image_url', image_url: {} }] }] }],
    ['messages[0].content[0].text', { messages: [{ role: 'user', content: [{ type: 'text' }] }] }],
    ['messages[0].name', { messages: [{ role: 'user', content: 'x', name: 'two words' }] }],
    ['messages[0].name', { messages: [{ role: 'user', content: 'x', name: '<|im_end|>' }] }],
    ['messages[0].name', { messages: [{ role: 'user', content: 'x', name: '' }] }],
    ['messages[0].tool_calls[0].id', { messages: [{ role: 'assistant', content: 'x', tool_calls: [{}] }] }],
    ['temperature', { temperature: 2.1 }],
    ['temperature', { temperature: '1' }],
    ['top_p', { top_p: -0.1 }],
    ['max_tokens', { max_tokens: 0 }],
    ['max_tokens', { max_tokens: 1.5 }],
    ['max_tokens', { max_tokens: 3, max_completion_tokens: 4 }],
    ['seed', { seed: 'x' }],
    ['stop', { stop: Array.from({ length: 17 }, (_, i) => `${i}`) }],
    ['stop', { stop: [''] }],
    ['stop', { stop: 5 }],
    ['stream', { stream: 'yes' }],
    ['stream_options', { stream_options: { include_usage: true } }],
    ['stream_options.bogus', { stream: true, stream_options: { bogus: 1 } }],
    ['top_logprobs', { top_logprobs: 3 }],
    ['top_logprobs', { logprobs: true, top_logprobs: 21 }],
    ['logprobs', { logprobs: 3 }],
    ['functions', { functions: [] }],
    ['n', { n: 17 }],
    ['n', { n: 0 }],
    ['presence_penalty', { presence_penalty: 2.5 }],
    ['frequency_penalty', { frequency_penalty: -3 }],
    ['top_k', { top_k: -1 }],
    ['min_p', { min_p: 1.5 }],
    ['repeat_penalty', { repeat_penalty: 0 }],
    ['logit_bias', { logit_bias: { x: 1 } }],
    ['logit_bias', { logit_bias: { 5: 101 } }],
    ['logit_bias', { logit_bias: Object.fromEntries(Array.from({ length: 301 }, (_, i) => [i, 1])) }],
    ['tools[0].function', { tools: [{ type: 'function' }] }],
    ['tools[0].type', { tools: [{ type: 'custom', function: { name: 'f' } }] }],
    [
      'tools',
      {
        tools: [
          { type: 'function', function: { name: 'f' } },
          { type: 'function', function: { name: 'f' } },
        ],
      },
    ],
    ['tool_choice', { tool_choice: 'required' }],
    [
      'tool_choice',
      {
        tools: [{ type: 'function', function: { name: 'f' } }],
        tool_choice: { type: 'function', function: { name: 'g' } },
      },
    ],
    ['tool_choice', { tools: [{ type: 'function', function: { name: 'f' } }], tool_choice: 'some' }],
    ['parallel_tool_calls', { parallel_tool_calls: true }],
    ['messages[0].tool_call_id', { messages: [{ role: 'tool', content: 'x' }] }],
    ['messages[0].tool_call_id', { messages: [{ role: 'user', content: 'x', tool_call_id: 'a' }] }],
    ['messages[0].content', { messages: [{ role: 'assistant', content: null }] }],
    [
      'messages[0].tool_calls',
      {
        messages: [
          { role: 'user', tool_calls: [{ id: 'a', type: 'function', function: { name: 'f', arguments: '{}' } }] },
        ],
      },
    ],
    ['response_format', { response_format: 'json' }],
    ['response_format.type', { response_format: { type: 'xml' } }],
    ['response_format.schema', { response_format: { type: 'json_object', schema: {} } }],
    ['response_format.json_schema', { response_format: { type: 'json_schema' } }],
    ['response_format.json_schema.name', { response_format: { type: 'json_schema', json_schema: { name: 'a b' } } }],
    [
      'response_format.json_schema.schema',
      { response_format: { type: 'json_schema', json_schema: { name: 'a', schema: [] } } },
    ],
    ['store', { store: true }],
    ['reasoning_effort', { reasoning_effort: 'low' }],
    ['temprature', { temprature: 1 }],
    ['__proto__x', { __proto__x: 4 }],
  ])('refuses by name: %s', async (param, change) => {
    const { post, device, server } = testApp();
    const answer = await post('/v1/chat/completions', { model: 'edge', messages: user('hi'), ...change });
    expect(answer.status).toBe(400);
    expect(await answer.json()).toMatchObject({ error: { type: 'invalid_request_error', param } });
    expect([device.requests, server.requests]).toEqual([[], []]);
  });

  it('refuses too many messages', async () => {
    const { post } = testApp({ config: { limits: { messages: 2 } } });
    const messages = [...user('a'), ...user('b'), ...user('c')];
    const answer = await post('/v1/chat/completions', { model: 'edge', messages });
    expect([answer.status, await answer.json()]).toMatchObject([400, { error: { param: 'messages' } }]);
  });

  it.each(['other', 'edge:nope', 'edge:', '__proto__'])('knows no model %s', async (model) => {
    const answer = await testApp().post('/v1/chat/completions', { model, messages: user('hi') });
    expect([answer.status, await answer.json()]).toMatchObject([
      404,
      { error: { code: 'model_not_found', param: 'model', type: 'invalid_request_error' } },
    ]);
  });

  it('routes the server’s model name like any other request', async () => {
    const answer = await testApp().post('/v1/chat/completions', { model: 'big', messages: user('hi') });
    expect(await answer.json()).toMatchObject({ model: 'edge', crayon: { source: 'on_device' } });
  });

  it('shows the deciding signal in headers and field', async () => {
    const { post } = testApp({
      config: { routing: { thresholds: { complexity: 0.5 } } },
      device: { promptNll: 2.5 },
    });
    const answer = await post('/v1/chat/completions', { model: 'edge', messages: user('hi'), max_tokens: 4 });
    expect(answer.headers.get('x-crayon-reason')).toBe('complexity');
    expect(answer.headers.get('x-crayon-score')).toBe('2.5');
    expect(answer.headers.get('x-crayon-threshold')).toBe('0.5');
    expect(((await answer.json()) as { crayon: object }).crayon).toEqual({
      source: 'in_cloud',
      reason: 'complexity',
      score: 2.5,
      threshold: 0.5,
      signals: { prompt_tokens: 2, max_tokens: 4, complexity: 2.5 },
    });
  });

  it('shows the probability that the device is right in headers, field, log and metrics', async () => {
    // The scripted tokens have a probability of 0.5: sigmoid(0.5 - 1).
    const routing = { thresholds: { correctness: 0.6 }, correctness: { intercept: -1, probability: 1 } };
    const { post, get, records } = testApp({ config: { routing } });
    const answer = await post('/v1/chat/completions', { model: 'edge', messages: user('hi'), max_tokens: 4 });
    const score = expect.closeTo(1 / (1 + Math.exp(0.5)), 12);
    expect(answer.headers.get('x-crayon-reason')).toBe('correctness');
    expect(Number(answer.headers.get('x-crayon-score'))).toEqual(score);
    expect(answer.headers.get('x-crayon-threshold')).toBe('0.6');
    expect(await answer.json()).toMatchObject({
      model: 'big',
      crayon: {
        source: 'in_cloud',
        reason: 'correctness',
        score,
        threshold: 0.6,
        signals: { prompt_tokens: 2, max_tokens: 4, confidence: Math.log(0.5), correctness: score },
      },
    });
    expect(records()).toMatchObject([{ reason: 'correctness', score, threshold: 0.6, correctness: score }]);
    expect(await (await get('/metrics')).text()).toContain(
      'crayon_routes_total{mode="prefer_on_device",source="in_cloud",reason="correctness"} 1',
    );
  });
});
