/** Right answers, in every shape that servers send them. */

import OpenAI from 'openai';
import { describe, expect, it } from 'vitest';
import type { Prompt } from '../../../src/engine/types.js';
import { KEY, useEngine } from '../../helpers/openai-engine.js';
import { reply, useUpstream } from '../../helpers/scripted-upstream.js';
import type { AnswerOptions } from '../../helpers/upstream-answers.js';

const CHAT: Prompt = {
  kind: 'chat',
  messages: [
    { role: 'system', content: 'be short' },
    { role: 'user', content: 'hi' },
  ],
};

describe('an OpenAI-compatible server', () => {
  it('is asked in its own form, for chat and for text', async () => {
    const upstream = await useUpstream(reply.answer(['Hel', 'lo']));
    const { ask } = useEngine(upstream.baseUrl);
    const options = { maxTokens: 5, temperature: 0.5, topP: 0.9, seed: 7, stop: ['x'], topLogprobs: 2 };
    await ask({ prompt: CHAT, ...options });
    await ask({ prompt: { kind: 'text', text: 'one' }, ...options });
    const common = { model: 'big', max_tokens: 5, temperature: 0.5, top_p: 0.9, seed: 7, stop: ['x'] };
    const streamed = { stream: true, stream_options: { include_usage: true } };
    expect(upstream.requests.map((r) => [r.method, r.path, r.body])).toEqual([
      [
        'POST',
        '/v1/chat/completions',
        { ...common, ...streamed, messages: CHAT.kind === 'chat' && CHAT.messages, logprobs: true, top_logprobs: 2 },
      ],
      ['POST', '/v1/completions', { ...common, ...streamed, prompt: 'one', logprobs: 2 }],
    ]);
    expect(upstream.requests[0]!.headers).toMatchObject({
      authorization: `Bearer ${KEY}`,
      'content-type': 'application/json',
    });
  });

  it('gets no key where there is none', async () => {
    const upstream = await useUpstream(reply.answer(['ok']));
    await useEngine(upstream.baseUrl, { apiKey: null }).ask();
    expect(upstream.requests[0]!.headers).not.toHaveProperty('authorization');
  });

  it.each(['chat', 'text'] as const)('streams %s as start, tokens and end', async (kind) => {
    const upstream = await useUpstream(reply.answer(['Hel', 'lo'], { cachedTokens: 3 }));
    const { ask } = useEngine(upstream.baseUrl);
    const { events } = await ask({ prompt: kind === 'chat' ? CHAT : { kind, text: 'x'.repeat(80) } });
    expect(events).toEqual([
      { type: 'start', promptTokens: kind === 'chat' ? 11 : 21, cachedTokens: null, estimated: true },
      { type: 'token', text: 'Hel', logprob: null },
      { type: 'token', text: 'lo', logprob: null },
      {
        type: 'end',
        text: '',
        finishReason: 'stop',
        usage: { promptTokens: 7, completionTokens: 2, cachedTokens: 3 },
      },
    ]);
  });

  const SHAPES: Array<[string, AnswerOptions]> = [
    ['comments between the events', { comments: true }],
    ['CRLF line ends', { crlf: true }],
    ['one byte at a time', { pieceBytes: 1 }],
    ['CRLF, comments, three bytes at a time', { crlf: true, comments: true, pieceBytes: 3 }],
    ['no role chunk', { roleChunk: false }],
    ['a chunk without choices first', { emptyChoices: true }],
    ['no [DONE]', { done: false }],
    ['usage in every chunk', { usage: 'each-chunk' }],
    ['usage unasked', { usage: 'always' }],
  ];
  it.each(SHAPES)('is understood with %s', async (_, options) => {
    const tokens = ['Grüße', ' 🦀', ' 漢', '字\n'];
    const upstream = await useUpstream(reply.answer(tokens, options));
    const { ask } = useEngine(upstream.baseUrl);
    for (const prompt of [CHAT, { kind: 'text', text: 'x' } as const]) {
      const { tokens: read, end, error } = await ask({ prompt });
      expect(error).toBeUndefined();
      expect(read.map((t) => t.text)).toEqual(tokens);
      expect(end!.finishReason).toBe('stop');
      expect(end!.usage).toEqual({ promptTokens: 7, completionTokens: 4, cachedTokens: null });
    }
  });

  it('is understood when it answers with one document', async () => {
    const upstream = await useUpstream(reply.document(['Hel', 'lo'], { finishReason: 'length' }));
    const { ask } = useEngine(upstream.baseUrl);
    for (const prompt of [CHAT, { kind: 'text', text: 'x' } as const]) {
      const { events, text, end } = await ask({ prompt });
      expect(events[0]).toEqual({ type: 'start', promptTokens: 7, cachedTokens: null });
      expect([text, end!.finishReason, end!.usage.completionTokens]).toEqual(['Hello', 'length', 2]);
    }
  });

  it('estimates, and says so, where the server does not count', async () => {
    const upstream = await useUpstream(reply.answer(['a', 'b', 'c'], { usage: 'never' }));
    const { ask, events } = useEngine(upstream.baseUrl);
    const { end } = await ask({ prompt: { kind: 'text', text: 'x'.repeat(40) } });
    expect(end!.usage).toEqual({ promptTokens: 11, completionTokens: 3, cachedTokens: null, estimated: true });
    expect(events).toContainEqual({ type: 'usage', inputTokens: 11, outputTokens: 3, money: 0, estimated: true });
  });

  it('may say nothing where a stop text may have come first', async () => {
    const upstream = await useUpstream(reply.answer([]));
    const { events } = await useEngine(upstream.baseUrl).ask({ prompt: CHAT, stop: ['\n'] });
    expect(events.map((e) => e.type)).toEqual(['start', 'end']);
  });

  it('is told only what was asked for', async () => {
    const upstream = await useUpstream(reply.answer(['ok']));
    const { ask } = useEngine(upstream.baseUrl);
    await ask({ prompt: CHAT, unasked: ['maxTokens', 'temperature', 'topP'] });
    await ask({ prompt: CHAT, unasked: ['topP'], topLogprobs: 0 });
    const { ask: bounded } = useEngine(upstream.baseUrl, { budget: { tokensPerDay: 10_000 } });
    await bounded({ prompt: CHAT, unasked: ['maxTokens', 'temperature', 'topP'] });
    const always = ['messages', 'model', 'stream', 'stream_options'];
    expect(upstream.requests.map(({ body }) => Object.keys(body).sort())).toEqual([
      always,
      [...always, 'logprobs', 'max_tokens', 'temperature'].sort(),
      [...always, 'max_tokens'].sort(),
    ]);
  });

  it.each(['chat', 'text'] as const)('gives log-probabilities for %s', async (kind) => {
    const upstream = await useUpstream(reply.answer(['é', 'b'], { probability: 0.75 }));
    const { ask } = useEngine(upstream.baseUrl);
    const prompt: Prompt = kind === 'chat' ? CHAT : { kind, text: 'x' };
    const { tokens } = await ask({ prompt, topLogprobs: 2 });
    expect(tokens.map((t) => [t.text, t.logprob])).toEqual([
      ['é', Math.log(0.75)],
      ['b', Math.log(0.75)],
    ]);
    expect(tokens[0]!.detail).toEqual({
      token: 'é',
      bytes: [0xc3, 0xa9],
      logprob: Math.log(0.75),
      top: [
        { token: 'é', bytes: [0xc3, 0xa9], logprob: Math.log(0.75) },
        { token: 'other', bytes: [...Buffer.from('other')], logprob: Math.log(0.25) },
      ],
    });
    const none = await ask({ prompt, topLogprobs: null });
    expect(none.tokens.map((t) => t.logprob)).toEqual([null, null]);
  });

  it('gives each token of a document its own log-probability', async () => {
    const upstream = await useUpstream(reply.document(['a', 'b']));
    const { tokens } = await useEngine(upstream.baseUrl).ask({ prompt: CHAT, topLogprobs: 0 });
    expect(tokens.map((t) => [t.text, t.logprob, t.detail!.top])).toEqual([
      ['a', Math.log(0.5), []],
      ['b', Math.log(0.5), []],
    ]);
  });

  it.each([
    ['stream_options', (body: Record<string, unknown>) => !('stream_options' in body)],
    ['max_tokens', (body: Record<string, unknown>) => body.max_completion_tokens === 64],
  ])('is asked without %s when it refuses that, once and for all', async (parameter, adapted) => {
    const upstream = await useUpstream(reply.refusing(parameter, ['ok']));
    const { ask, engine } = useEngine(upstream.baseUrl);
    expect((await ask({ prompt: CHAT })).text).toBe('ok');
    expect((await ask({ prompt: CHAT })).text).toBe('ok');
    expect(upstream.requests.map((r) => adapted(r.body))).toEqual([false, true, true]);
    expect(engine.state().errors).toEqual({});
  });

  it('finds its connections used again', async () => {
    const ports = new Set<number | undefined>();
    const upstream = await useUpstream((exchange) => {
      ports.add(exchange.response.socket?.remotePort);
      return reply.answer(['ok'])(exchange);
    });
    const { ask } = useEngine(upstream.baseUrl);
    for (let i = 0; i < 8; i++) await ask();
    // The end of a body may come a moment after the next request has had to open a connection.
    expect(ports.size).toBeLessThanOrEqual(3);
  });

  it('is what the official client takes the scripted upstream for', async () => {
    const upstream = await useUpstream(reply.answer(['Hel', 'lo']), reply.answer(['Hel', 'lo']), reply.status(401));
    const client = new OpenAI({ baseURL: upstream.baseUrl, apiKey: 'k', maxRetries: 0 });
    const chat = { model: 'big', messages: [{ role: 'user', content: 'hi' }] } as const;
    let text = '';
    for await (const chunk of await client.chat.completions.create({
      ...chat,
      messages: [...chat.messages],
      stream: true,
    })) {
      text += chunk.choices[0]?.delta.content ?? '';
    }
    const whole = await client.completions.create({ model: 'big', prompt: 'hi' });
    expect([text, whole.choices[0]!.text, whole.usage!.total_tokens]).toEqual(['Hello', 'Hello', 9]);
    await expect(client.completions.create({ model: 'big', prompt: 'hi' })).rejects.toBeInstanceOf(
      OpenAI.AuthenticationError,
    );
  });

  it('works with another fetch than node’s', async () => {
    const bodies: unknown[] = [];
    const { ask } = useEngine('https://server.invalid/v1', {
      fetch: async (_, init) => {
        bodies.push(JSON.parse(String(init?.body)));
        return new Response('data: {"choices":[{"text":"ok","finish_reason":"length"}]}\n\ndata: [DONE]\n\n', {
          headers: { 'content-type': 'text/event-stream' },
        });
      },
    });
    const { text, end } = await ask();
    expect([text, end!.finishReason, bodies.length]).toEqual(['ok', 'length', 1]);
  });
});
