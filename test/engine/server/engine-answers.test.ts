/** Odd answers with status 200, through the whole engine: understood, or refused; never an empty success. */

import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import type { ErrorCode } from '../../../src/core/errors.js';
import type { Prompt, ToolCallPiece } from '../../../src/engine/types.js';
import { CollectedCalls } from '../../../src/serve/openai/calls.js';
import { useEngine } from '../../helpers/openai-engine.js';
import { reply, useUpstream } from '../../helpers/scripted-upstream.js';

const CHAT: Prompt = { kind: 'chat', messages: [{ role: 'user', content: 'hi' }] };
const SSE = { 'content-type': 'text/event-stream' };
const JSON_TYPE = { 'content-type': 'application/json' };
const wholeCalls = (pieces: readonly ToolCallPiece[]) => {
  const calls = new CollectedCalls();
  calls.add(pieces);
  return calls.list;
};
const DONE = 'data: [DONE]\n\n';

const event = (document: unknown): string => `data: ${JSON.stringify(document)}\n\n`;
const delta = (content: unknown, finish: unknown = null, more: object = {}): string =>
  event({ choices: [{ index: 0, delta: { content }, finish_reason: finish, ...more }] });
const whole = (message: unknown, finish: unknown = 'stop', more: object = {}): string =>
  JSON.stringify({ choices: [{ index: 0, message, finish_reason: finish }], ...more });

async function answerOf(headers: Record<string, string>, body: string | Uint8Array) {
  const upstream = await useUpstream(reply.raw(200, headers, body));
  const { ask, events } = useEngine(upstream.baseUrl);
  const { text, end, error } = await ask({ prompt: CHAT });
  return { text, reason: end?.finishReason, usage: end?.usage, code: error?.code, message: error?.message, events };
}

const STREAMS: Array<[string, string, string, string]> = [
  [
    'parts after thinking',
    delta([{ type: 'thinking', thinking: [] }]) +
      delta([{ type: 'text', text: 'Forty-two' }]) +
      delta('', 'stop') +
      DONE,
    'Forty-two',
    'stop',
  ],
  ['no [DONE]', delta('a', 'stop'), 'a', 'stop'],
  ['a finish reason "" until the end', delta('a', '') + delta('b', 'STOP') + DONE, 'ab', 'stop'],
  ['the words of another server', delta('a', 'max_tokens') + DONE, 'a', 'length'],
  ['a content filter after some text', delta('a') + delta('', 'content_filter') + DONE, 'a', 'content_filter'],
  ['halves of a character in two events', delta('\ud83d') + delta('\ude00') + delta('', 'stop') + DONE, '😀', 'stop'],
  [
    'reasoning before the answer',
    event({ choices: [{ delta: { content: null, reasoning_content: 'hm' } }] }) + delta('a', 'stop') + DONE,
    'a',
    'stop',
  ],
  ['a byte order mark and CRLF', `\ufeff${delta('a', 'stop').replaceAll('\n', '\r\n')}`, 'a', 'stop'],
  [
    'an index that is a text',
    event({ choices: [{ index: '0', delta: { content: 'a' }, finish_reason: 'stop' }] }),
    'a',
    'stop',
  ],
  [
    'several choices',
    event({
      choices: [
        { index: 1, delta: { content: 'x' } },
        { index: 0, delta: { content: 'a' }, finish_reason: 'stop' },
      ],
    }),
    'a',
    'stop',
  ],
  ['text in place of a delta', event({ choices: [{ index: 0, text: 'a', finish_reason: 'stop' }] }), 'a', 'stop'],
];

const DOCUMENTS: Array<[string, string, string, string]> = [
  ['a text', whole({ content: 'a' }), 'a', 'stop'],
  [
    'parts',
    whole({
      content: [
        { type: 'text', text: 'a' },
        { type: 'text', text: 'b' },
      ],
    }),
    'ab',
    'stop',
  ],
  ['a byte order mark', `\ufeff${whole({ content: 'a' })}`, 'a', 'stop'],
  ['a refusal', whole({ content: null, refusal: 'I cannot' }), 'I cannot', 'stop'],
  ['text in place of a message', JSON.stringify({ choices: [{ text: 'a', finish_reason: 'stop' }] }), 'a', 'stop'],
];

describe('is understood', () => {
  it.each(STREAMS)('a stream with %s', async (_, body, text, reason) => {
    expect(await answerOf(SSE, body)).toMatchObject({ text, reason, code: undefined });
  });
  it.each(DOCUMENTS)('a document with %s', async (_, body, text, reason) => {
    expect(await answerOf(JSON_TYPE, body)).toMatchObject({ text, reason, code: undefined });
  });
  it('a usage whose counts are texts; another is estimated', async () => {
    const counted = await answerOf(
      JSON_TYPE,
      whole({ content: 'a' }, 'stop', { usage: { prompt_tokens: '7', completion_tokens: '2' } }),
    );
    expect(counted.usage).toMatchObject({ promptTokens: 7, completionTokens: 2 });
    for (const usage of [
      null,
      'many',
      { prompt_tokens: 'x', completion_tokens: 1 },
      { prompt_tokens: -1, completion_tokens: 1 },
    ]) {
      const { usage: found } = await answerOf(JSON_TYPE, whole({ content: 'a' }, 'stop', { usage }));
      expect(found).toMatchObject({ estimated: true, completionTokens: 1 });
    }
  });
});

const BAD: Array<[string, Record<string, string>, string | Uint8Array, ErrorCode]> = [
  ...['abort', 'error', 'something_new', 5, { why: 'x' }].map(
    (word): [string, Record<string, string>, string, ErrorCode] => [
      `finish_reason ${JSON.stringify(word)}`,
      SSE,
      delta('The ferry leaves at') + delta('', word) + DONE,
      'server-failed',
    ],
  ),
  ['finish_reason abort in a document', JSON_TYPE, whole({ content: 'The ferry' }, 'abort'), 'server-failed'],
  ['no finish_reason before [DONE]', SSE, delta('a') + DONE, 'server-invalid'],
  ['no finish_reason in a document', JSON_TYPE, whole({ content: 'a' }, null), 'server-invalid'],
  [
    'a tool call that ends with stop',
    SSE,
    event({ choices: [{ delta: { tool_calls: [{ id: 'x' }] }, finish_reason: 'stop' }] }),
    'server-invalid',
  ],
  ['an image', SSE, delta([{ type: 'image_url' }]) + delta('', 'stop') + DONE, 'server-invalid'],
  [
    'reasoning alone',
    SSE,
    event({ choices: [{ delta: { reasoning: 'hm' }, finish_reason: 'length' }] }) + DONE,
    'server-refused',
  ],
  ['no content in a stream', SSE, delta('') + delta(null, 'stop') + DONE, 'server-refused'],
  ['content null', JSON_TYPE, whole({ content: null }), 'server-refused'],
  [
    'content empty',
    JSON_TYPE,
    whole({ content: '' }, 'stop', { usage: { prompt_tokens: 4, completion_tokens: 1 } }),
    'server-refused',
  ],
  ['[DONE] alone', SSE, DONE, 'server-invalid'],
  ['choices empty', JSON_TYPE, '{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":0}}', 'server-invalid'],
  [
    'another choice alone',
    JSON_TYPE,
    '{"choices":[{"index":1,"message":{"content":"x"},"finish_reason":"stop"}]}',
    'server-invalid',
  ],
  ['an error', JSON_TYPE, '{"error":{"message":"no","code":502}}', 'server-failed'],
  ['an error as a text', JSON_TYPE, '{"error":"model not found"}', 'server-failed'],
  ['an error as a number', JSON_TYPE, '{"error":502,"choices":[]}', 'server-failed'],
  [
    'an error in a list',
    JSON_TYPE,
    '[{"error":{"code":400,"message":"no","status":"INVALID_ARGUMENT"}}]',
    'server-failed',
  ],
  [
    'an error in a choice',
    SSE,
    delta('a') + delta('', 'error', { error: { code: 502, message: 'overloaded' } }) + DONE,
    'server-failed',
  ],
  [
    'an error after [good] text',
    SSE,
    delta('a') + event({ error: { message: 'no' }, choices: [] }) + DONE,
    'server-failed',
  ],
  ['half a character at the end', SSE, delta('a\ud83d') + delta('', 'stop') + DONE, 'server-invalid'],
  ['half a character in the middle', SSE, delta('\ude00a', 'stop') + DONE, 'server-invalid'],
  [
    'bytes that are not UTF-8',
    SSE,
    Buffer.concat([
      Buffer.from('data: {"choices":[{"delta":{"content":"caf'),
      Buffer.of(0xe9),
      Buffer.from('"},"finish_reason":"stop"}]}\n\n'),
    ]),
    'server-invalid',
  ],
  [
    'Latin-1 in a document',
    { 'content-type': 'application/json; charset=iso-8859-1' },
    Buffer.from(whole({ content: 'café' }), 'latin1'),
    'server-invalid',
  ],
  [
    'half of a UTF-8 character at the end',
    JSON_TYPE,
    Buffer.concat([Buffer.from(whole({ content: 'a' })), Buffer.of(0xe2, 0x82)]),
    'server-invalid',
  ],
  ['events as JSON', JSON_TYPE, delta('a', 'stop') + DONE, 'server-invalid'],
  ['JSON as events', SSE, whole({ content: 'a' }), 'server-failed'],
  [
    'a line for each document',
    { 'content-type': 'application/x-ndjson' },
    '{"message":{"content":"a"},"done":true}\n',
    'server-invalid',
  ],
  ['no content type', {}, whole({ content: 'a' }), 'server-invalid'],
  ['no body', SSE, '', 'server-failed'],
  ['what claims to be gzip', { ...JSON_TYPE, 'content-encoding': 'gzip' }, whole({ content: 'a' }), 'server-failed'],
];

describe('is refused', () => {
  it.each(BAD)('%s', async (_, headers, body, code) => {
    const found = await answerOf(headers, body);
    expect([found.code, found.reason]).toEqual([code, undefined]);
  });

  it.each(['finish_reason', 'error', 'delta'])('what is nested without end in %s', async (key) => {
    const deep = `${'['.repeat(50_000)}${']'.repeat(50_000)}`;
    const { code } = await answerOf(SSE, `data: {"choices":[{"index":0,"${key}":${deep}}]}\n\n${DONE}`);
    expect(code).toBe('server-invalid');
    const upstream = await useUpstream(reply.raw(400, JSON_TYPE, `{"detail":${deep}}`));
    expect((await useEngine(upstream.baseUrl).ask({ prompt: CHAT })).error?.code).toBe('server-refused');
  });

  it('a small body that unpacks to a large one', async () => {
    const bomb = gzipSync(
      Buffer.concat([Buffer.from('{"choices":"'), Buffer.alloc(48 * 2 ** 20, 'x'), Buffer.from('"}')]),
    );
    expect(bomb.length).toBeLessThan(100_000);
    const { code, message } = await answerOf({ ...JSON_TYPE, 'content-encoding': 'gzip' }, bomb);
    expect([code, message]).toEqual(['server-invalid', expect.stringContaining('33554432 bytes')]);
  });
});

it('counts why answers ended, by a closed list', async () => {
  const found = await answerOf(SSE, delta('a') + delta('', 'word-of-the-server') + DONE);
  expect(found.events.filter(({ type }) => type === 'finish')).toEqual([{ type: 'finish', finish: 'other' }]);
  expect(found.message).toContain('"word-of-the-server"');
  const { events } = await answerOf(SSE, delta('a', 'eos') + DONE);
  expect(events).toContainEqual({ type: 'finish', finish: 'stop' });
});

it.each([
  ['in one piece', delta('one two END three'), 'one two ', 'stop'],
  [
    'over pieces, and the reason was the length',
    delta('one two E') + delta('ND th') + delta('ree', 'length'),
    'one two ',
    'stop',
  ],
  ['first of two', delta('a\nb END'), 'a', 'stop'],
  ['its beginning alone', delta('one EN') + delta('', 'length'), 'one EN', 'length'],
  ['sent as its last word', delta('one END', 'stop'), 'one ', 'stop'],
])('a stop text that the server passes over ends the answer: %s', async (_, stream, text, reason) => {
  const end = stream.includes('"finish_reason":"') ? '' : delta('', 'stop');
  const upstream = await useUpstream(reply.raw(200, SSE, stream + end + DONE));
  const found = await useEngine(upstream.baseUrl).ask({ prompt: CHAT, stop: ['END', '\n'] });
  expect([found.text, found.end?.finishReason, found.error]).toEqual([text, reason, undefined]);
});

const TOOLS = [{ type: 'function', function: { name: 'f', parameters: { type: 'object' } } }] as const;
const OFFERED: Prompt = {
  kind: 'chat',
  messages: [
    { role: 'user', content: 'hi' },
    {
      role: 'assistant',
      content: '',
      toolCalls: [{ id: 'a', type: 'function', function: { name: 'f', arguments: '{}' } }],
    },
    { role: 'tool', content: 'r', toolCallId: 'a' },
  ],
  tools: { list: TOOLS, choice: { name: 'f' }, parallel: false },
};

describe('functions that are offered', () => {
  const calls = (tool_calls: object[], finish: unknown = null): string =>
    event({ choices: [{ index: 0, delta: { tool_calls }, finish_reason: finish }] });
  it.each<[string, Record<string, string>, string]>([
    [
      'streamed',
      SSE,
      delta('') +
        calls([{ index: 0, id: 'b', type: 'function', function: { name: 'f', arguments: '' } }]) +
        calls([{ index: 0, function: { arguments: '{"x":1}' } }]) +
        calls([{ index: 1, id: 'c', function: { name: 'f', arguments: '{}' } }]) +
        delta(null, 'tool_calls') +
        DONE,
    ],
    [
      'in a document',
      JSON_TYPE,
      whole(
        {
          content: null,
          tool_calls: [
            { id: 'b', type: 'function', function: { name: 'f', arguments: '{"x":1}' } },
            { id: 'c', function: { name: 'f', arguments: {} } },
          ],
        },
        'tool_calls',
      ),
    ],
  ])('go to the server as they came, and its calls come back: %s', async (_, headers, body) => {
    const upstream = await useUpstream(reply.raw(200, headers, body));
    const { ask } = useEngine(upstream.baseUrl);
    const { tokens, end, error } = await ask({ prompt: OFFERED });
    expect([error, end?.finishReason]).toEqual([undefined, 'tool_calls']);
    expect(wholeCalls(tokens.flatMap((token) => token.calls ?? []))).toEqual([
      { id: 'b', type: 'function', function: { name: 'f', arguments: '{"x":1}' } },
      { id: 'c', type: 'function', function: { name: 'f', arguments: '{}' } },
    ]);
    expect(upstream.requests[0]!.body).toMatchObject({
      messages: [
        { role: 'user', content: 'hi' },
        {
          role: 'assistant',
          content: null,
          tool_calls: [{ id: 'a', type: 'function', function: { name: 'f', arguments: '{}' } }],
        },
        { role: 'tool', content: 'r', tool_call_id: 'a' },
      ],
      tools: TOOLS,
      tool_choice: { type: 'function', function: { name: 'f' } },
      parallel_tool_calls: false,
    });
  });
});
