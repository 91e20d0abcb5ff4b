/** POST /v1/responses over scripted engines; test/clients has the official client on a real server. */

import { describe, expect, it } from 'vitest';
import { GrowingResponse } from '../../../src/serve/responses/answer.js';
import { SERVER, testApp, user } from '../helpers.js';

const PATH = '/v1/responses';
const events = (text: string) =>
  text
    .trimEnd()
    .split('\n\n')
    .map((event) => {
      const [, type, data] = /^event: (\S+)\ndata: (.*)$/.exec(event)!;
      const parsed = JSON.parse(data!);
      expect(parsed.type).toBe(type);
      return parsed;
    });

const ECHOED = {
  ...{ instructions: null, max_output_tokens: null, temperature: 1, top_p: 1, parallel_tool_calls: true },
  ...{ tool_choice: 'auto', tools: [], text: { format: { type: 'text' } }, metadata: {}, truncation: 'disabled' },
  ...{ previous_response_id: null, store: false, background: false, reasoning: { effort: null, summary: null } },
  ...{ top_logprobs: 0, service_tier: 'default' },
};
const message = (text: string, status = 'completed') => ({
  ...{ id: 'msg_1_0', type: 'message', status, role: 'assistant' },
  content: [{ type: 'output_text', text, annotations: [], logprobs: [] }],
});
const usage = (input: number, output: number) => ({
  ...{ input_tokens: input, input_tokens_details: { cached_tokens: 0 } },
  ...{ output_tokens: output, output_tokens_details: { reasoning_tokens: 0 }, total_tokens: input + output },
});

describe('POST /v1/responses', () => {
  it('answers in one document', async () => {
    const { post, device } = testApp({ device: { answers: 'one two' } });
    const answer = await post(PATH, { model: 'edge', input: 'say hi', metadata: { a: 'b' } });
    expect(answer.headers.get('x-crayon-source')).toBe('on_device');
    expect(await answer.json()).toEqual({
      ...{ id: 'resp_1', object: 'response', created_at: 1_700_000_000, status: 'completed', model: 'edge' },
      ...{ error: null, incomplete_details: null, output: [message('one two')], usage: usage(3, 2) },
      ...{ ...ECHOED, metadata: { a: 'b' } },
      crayon: expect.objectContaining({ source: 'on_device', reason: 'accepted' }),
    });
    expect(device.requests[0]!.request.query.prompt).toEqual({ kind: 'chat', messages: user('say hi') });
  });

  it('streams the events of the response while it grows, numbered', async () => {
    const { post } = testApp({ device: { answers: 'one two' } });
    const sent = events(await (await post(PATH, { model: 'edge', input: 'hi', stream: true })).text());
    expect(sent.map(({ type }) => type.replace('response.', ''))).toEqual([
      ...['created', 'in_progress', 'output_item.added', 'content_part.added', 'output_text.delta'],
      ...['output_text.delta', 'output_text.done', 'content_part.done', 'output_item.done', 'completed'],
    ]);
    expect(sent.map(({ sequence_number: n }) => n)).toEqual(sent.map((_, i) => i));
    expect(sent[0].response).toMatchObject({ status: 'in_progress', output: [], usage: null });
    expect(sent[2]).toMatchObject({ output_index: 0, item: { ...message('', 'in_progress'), content: [] } });
    const at = { item_id: 'msg_1_0', output_index: 0, content_index: 0 };
    expect(sent.slice(4, 7)).toMatchObject([
      { ...at, delta: 'one' },
      { ...at, delta: ' two' },
      { ...at, text: 'one two' },
    ]);
    expect(sent.at(-1).response).toMatchObject({
      status: 'completed',
      output: [message('one two')],
      usage: usage(2, 2),
    });
  });

  it('is incomplete where the tokens were too few, and a message without text where there was none', async () => {
    const { post } = testApp({ device: { answers: ['one two three', ''] } });
    expect(await (await post(PATH, { model: 'edge', input: 'hi', max_output_tokens: 2 })).json()).toMatchObject({
      ...{ status: 'incomplete', incomplete_details: { reason: 'max_output_tokens' } },
      output: [message('one two', 'incomplete')],
    });
    expect(await (await post(PATH, { model: 'edge', input: 'hi' })).json()).toMatchObject({
      output: [{ ...message(''), id: 'msg_2_0' }],
    });
  });

  it('takes a conversation as items, with instructions before it', async () => {
    const { post, device } = testApp();
    const input = [
      { role: 'developer', content: 'be kind' },
      {
        type: 'message',
        role: 'user',
        content: [{ type: 'input_text', text: 'hi' }],
        id: 'msg_0',
        status: 'completed',
      },
      { ...message('hello') },
      { role: 'user', content: 'again' },
    ];
    const answer = await post(PATH, { model: 'edge', input, instructions: 'be short', reasoning: { effort: null } });
    expect(answer.status).toBe(200);
    expect(device.requests[0]!.request.query.prompt).toEqual({
      kind: 'chat',
      messages: [
        { role: 'system', content: 'be short' },
        { role: 'system', content: 'be kind' },
        ...user('hi'),
        { role: 'assistant', content: 'hello' },
        ...user('again'),
      ],
    });
  });

  it('takes functions, their calls and results, and a form of the answer', async () => {
    const { post, device } = testApp();
    const schema = {
      type: 'object',
      properties: { a: { type: 'boolean' } },
      required: ['a'],
      additionalProperties: false,
    };
    const call = (id: string) => ({ type: 'function_call', call_id: id, name: 'f', arguments: '{}', id: `fc_${id}` });
    const input = [
      { role: 'user', content: 'hi' },
      ...[call('c1'), call('c2')],
      { type: 'function_call_output', call_id: 'c1', output: [{ type: 'input_text', text: 'done' }] },
      { type: 'function_call_output', call_id: 'c2', output: 'too' },
    ];
    const answer = await post(PATH, {
      ...{ model: 'edge', input, tool_choice: { type: 'function', name: 'f' }, parallel_tool_calls: false },
      tools: [{ type: 'function', name: 'f', parameters: schema, strict: true }],
    });
    expect(await answer.json()).toMatchObject({ tools: [{ name: 'f' }], parallel_tool_calls: false });
    const called = (id: string) => ({ id, type: 'function', function: { name: 'f', arguments: '{}' } });
    expect(device.requests[0]!.request.query.prompt).toMatchObject({
      tools: {
        list: [{ type: 'function', function: { name: 'f', parameters: schema, strict: true } }],
        ...{ choice: { name: 'f' }, parallel: false },
      },
      messages: [
        ...user('hi'),
        { role: 'assistant', toolCalls: [called('c1'), called('c2')] },
        { role: 'tool', content: 'done', toolCallId: 'c1' },
        { role: 'tool', content: 'too', toolCallId: 'c2' },
      ],
    });
    const format = { type: 'json_schema', name: 'thing', schema, strict: true };
    await post(PATH, { model: 'edge', input: 'hi', text: { format } });
    expect(device.requests[1]!.request.format).toEqual({
      type: 'json_schema',
      json_schema: { name: 'thing', schema, strict: true },
    });
  });

  it('has log-probabilities where they are included, and names the server LLM where that answers', async () => {
    const tokens = [{ text: 'a', probabilities: { a: 0.5, b: 0.5 } }];
    const { post } = testApp({ device: { answers: [{ tokens }] } });
    const body = { model: 'edge', input: 'hi', include: ['message.output_text.logprobs'], top_logprobs: 1 };
    const entry = { token: 'a', logprob: Math.log(0.5), bytes: [97] };
    expect(await (await post(PATH, body)).json()).toMatchObject({
      output: [{ content: [{ logprobs: [{ ...entry, top_logprobs: [entry] }] }] }],
    });
    const remote = testApp({ config: { server: SERVER, routing: { mode: 'only_in_cloud' } } });
    const far = await (await remote.post(PATH, { model: 'edge', input: 'hi' })).json();
    expect(far).toMatchObject({ model: 'big', crayon: { source: 'in_cloud' } });
  });

  it('ends a stream that fails with an error event that official clients throw', async () => {
    const answers = [{ tokens: 'one two', fail: { at: 1, error: 'out-of-memory' as const } }];
    const { post } = testApp({ device: { answers } });
    const sent = events(await (await post(PATH, { model: 'edge', input: 'hi', stream: true })).text());
    expect(sent.at(-1)).toMatchObject({
      ...{ type: 'error', code: 'out_of_memory', sequence_number: sent.length - 1 },
      error: { code: 'out_of_memory', type: 'unavailable_error' },
    });
  });

  it.each<[string, object, RegExp]>([
    ['input', { input: undefined }, /missing/],
    ['input', { input: 5 }, /a text, or a list of items/],
    ['input[0]', { input: ['hi'] }, /an object/],
    ['input[0].type', { input: [{ type: 'item_reference', id: 'x' }] }, /takes message, function_call/],
    ['input[0].content[0].type', { input: [{ role: 'user', content: [{ type: 'input_image' }] }] }, /input_text only/],
    ['previous_response_id', { previous_response_id: 'resp_1' }, /nothing is kept/],
    ['conversation', { conversation: 'conv_1' }, /nothing is kept/],
    ['store', { store: true }, /send false/],
    ['background', { background: true }, /send false/],
    ['truncation', { truncation: 'auto' }, /"disabled"/],
    ['reasoning', { reasoning: { effort: 'high' } }, /nothing in it/],
    ['include[0]', { include: ['file_search_call.results'] }, /logprobs/],
    ['tools[0].type', { tools: [{ type: 'web_search' }] }, /"function" only/],
    ['temperature', { temperature: 3 }, /from 0 to 2/],
    ['text.format.type', { text: { format: { type: 'xml' } } }, /^text\.format\.type is/],
    [
      'text.format.schema',
      { text: { format: { type: 'json_schema', name: 'a', schema: 1 } } },
      /^text\.format\.schema/,
    ],
    ['tools[0].parameters', { tools: [{ type: 'function', name: 'f', parameters: 1 }] }, /^tools\[0\]\.parameters/],
    ['max_output_tokens', { max_output_tokens: 0 }, /whole number/],
    ['messages', { messages: [] }, /Unrecognized/],
  ])('refuses by name: %s', async (param, change, words) => {
    const answer = await testApp().post(PATH, { model: 'edge', input: 'hi', ...change });
    const error = { param, message: expect.stringMatching(words) };
    expect([answer.status, await answer.json()]).toMatchObject([400, { error }]);
  });
});

describe('GrowingResponse', () => {
  it('has calls of functions as items of their own, after the text', () => {
    const growing = new GrowingResponse({
      ...{ id: '1', created: 0, model: 'edge', crayon: {}, echoed: {}, hasLogprobs: false },
    });
    const token = (text: string, calls: object[] = []) =>
      growing.token({ type: 'token', text, logprob: null, calls } as never);
    const sent = events(
      [
        growing.opening(),
        token('Let me see.'),
        token('', [{ index: 0, id: 'call_1', name: 'weather', arguments: '' }]),
        token('', [{ index: 0, arguments: '{"city":' }]),
        token('', [{ index: 0, arguments: '"Paris"}' }]),
        token('', [{ index: 1, id: 'call_2', name: 'time', arguments: '' }]),
        growing.closing({
          ...{ text: '', finishReason: 'tool_calls', calls: [{ index: 1, arguments: '{}' }] },
          usage: { promptTokens: 3, completionTokens: 9, cachedTokens: 2 },
        }),
      ].join(''),
    );
    expect(sent.slice(2).map(({ type, output_index: i }) => `${type.replace('response.', '')} ${i ?? ''}`)).toEqual([
      ...['output_item.added 0', 'content_part.added 0', 'output_text.delta 0'],
      ...['output_text.done 0', 'content_part.done 0', 'output_item.done 0'],
      ...['output_item.added 1', 'function_call_arguments.delta 1', 'function_call_arguments.delta 1'],
      ...['function_call_arguments.done 1', 'output_item.done 1'],
      ...['output_item.added 2', 'function_call_arguments.delta 2'],
      ...['function_call_arguments.done 2', 'output_item.done 2', 'completed '],
    ]);
    expect(sent.find(({ type }) => type.endsWith('arguments.done'))).toMatchObject({
      ...{ item_id: 'fc_1_1', name: 'weather', arguments: '{"city":"Paris"}' },
    });
    expect(growing.document()).toMatchObject({
      status: 'completed',
      output: [
        message('Let me see.'),
        {
          type: 'function_call',
          call_id: 'call_1',
          name: 'weather',
          arguments: '{"city":"Paris"}',
          status: 'completed',
        },
        { type: 'function_call', call_id: 'call_2', name: 'time', arguments: '{}', status: 'completed' },
      ],
      usage: { input_tokens_details: { cached_tokens: 2 } },
    });
  });
});
