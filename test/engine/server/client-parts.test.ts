/** The pure parts: options, Retry-After, documents, event streams. */

import { describe, expect, it } from 'vitest';
import { AnswerReader, errorMessage, eventStream, readLogprobs } from '../../../src/engine/server/answer.js';
import { ServerClient } from '../../../src/engine/server/client.js';
import { parseRetryAfter, quoter, serverErrorOf } from '../../../src/engine/server/error.js';
import { type OpenAiOptions, resolveOptions } from '../../../src/engine/server/options.js';
import { errorOf } from '../../helpers/files.js';
import { generateRequest } from '../../helpers/generate.js';
import { expectNoKey, KEY } from '../../helpers/openai-engine.js';

const server = (maxEventBytes?: number) => new ServerClient({ baseUrl: 'http://server/v1', model: 'm', maxEventBytes });
const read = (document: unknown, overrides = {}) =>
  new AnswerReader(server(), generateRequest(overrides)).read(document);

describe('options', () => {
  const good: OpenAiOptions = { baseUrl: 'http://127.0.0.1:8000/v1/', model: 'big', apiKey: KEY };

  it('are filled in', () => {
    const { url, name, apiKey, timeouts } = resolveOptions({ ...good, timeouts: { idleMs: 5 } });
    expect([url.href, name, apiKey, timeouts.idleMs, timeouts.connectMs]).toEqual([
      ...['http://127.0.0.1:8000/v1', 'big', KEY, 5, 5_000],
    ]);
    expect(resolveOptions({ ...good, apiKey: '' }).apiKey).toBeNull();
  });

  it.each<[string, Partial<OpenAiOptions>]>([
    ['no URL', { baseUrl: 'localhost' }],
    ['another protocol', { baseUrl: 'ftp://server/v1' }],
    ['a password in the URL', { baseUrl: `http://me:${encodeURIComponent(KEY)}@server/v1` }],
    ['a password in what is no URL', { baseUrl: `//me:${KEY}@server:x/v1` }],
    ['a key with a line break', { apiKey: `${KEY}\n` }],
    ['a key that is no ASCII', { apiKey: `${KEY}é` }],
    ['no model', { model: '' }],
    ['a time-out of zero', { timeouts: { totalMs: 0 } }],
    ['half a retry', { retries: 0.5 }],
    ['no concurrency', { concurrency: 0 }],
    ['a negative queue', { queue: -1 }],
    ['a circuit that is always open', { circuit: { failures: 0 } }],
    ['a budget that is no number', { budget: { tokensPerDay: Number.NaN } }],
    ['a negative price', { prices: { inputPerMillion: -1, outputPerMillion: 0, currency: 'EUR' } }],
    ['a budget of money without prices', { budget: { moneyPerDay: 1 } }],
  ])('are refused with %s', (_, bad) => {
    const error = errorOf(() => resolveOptions({ ...good, ...bad }));
    expect(error.code).toBe('config-invalid');
    expectNoKey(error);
  });
});

describe('Retry-After', () => {
  const now = Date.UTC(2030, 0, 15, 12);
  it.each([
    [{ 'retry-after': '3' }, 3_000],
    [{ 'retry-after': '0.5' }, 500],
    [{ 'retry-after': '0' }, 0],
    [{ 'retry-after': 'Tue, 15 Jan 2030 12:00:05 GMT' }, 5_000],
    [{ 'retry-after': 'Tue, 15 Jan 2030 11:00:00 GMT' }, 0],
    [{ 'retry-after': '9', 'retry-after-ms': '120' }, 120],
    [{ 'retry-after': '-1' }, null],
    [{ 'retry-after': 'soon' }, null],
    [{ 'retry-after': '2030' + '-01-15' }, null],
    [{}, null],
  ])('%j is %s ms', (headers, ms) => {
    expect(parseRetryAfter(new Headers(headers as Record<string, string>), now)).toBe(ms);
  });
});

describe('a document', () => {
  it('that is an error is recognised in every shape', () => {
    const shapes = [
      { error: { message: 'no' } },
      { error: 'no' },
      { object: 'error', message: 'no', code: 400 },
      { detail: 'no' },
      { message: 'no' },
    ];
    expect(shapes.map(errorMessage)).toEqual(Array(5).fill('no'));
    expect(errorMessage({ detail: [{ loc: ['body', 'model'] }] })).toContain('model');
    for (const fine of [{ choices: [] }, { choices: [], error: null }, { choices: [], message: 'hi' }, [], null, 'x']) {
      expect(errorMessage(fine)).toBeNull();
    }
  });

  it.each([[1], ['x'], [null], [[]], [{ choices: 1 }], [{ choices: 'x' }]])('%j is no completion', (document) => {
    expect(errorOf(() => read(document)).code).toBe('server-invalid');
  });

  it('may hold nothing to show', () => {
    for (const choice of [{}, { delta: null }, { delta: { content: null } }, { text: '' }]) {
      expect(read({ choices: [choice] })).toEqual([]);
    }
    expect(read({ choices: [{ index: 1, text: 'another choice' }] })).toEqual([]);
    expect(read({ choices: [null], usage: { prompt_tokens: 'x' } })).toEqual([]);
  });

  it('may hold a refusal in place of content', () => {
    expect(read({ choices: [{ delta: { refusal: 'I cannot' } }] })).toMatchObject([{ text: 'I cannot' }]);
  });

  it.each([
    ['length', 'length'],
    ['max_tokens', 'length'],
    ['stop', 'stop'],
    ['eos_token', 'stop'],
  ])('that finished with %s ended with %s', (said, meant) => {
    const reader = new AnswerReader(server(), generateRequest());
    reader.read({ choices: [{ text: '', finish_reason: said }] });
    expect(reader.finishReason).toBe(meant);
  });

  it('whose tokens and text differ gives the text once', () => {
    const content = ['<0xC3>', '<0xA9>'].map((token) => ({ token, logprob: -1, bytes: [0xc3], top_logprobs: [] }));
    const events = read({ choices: [{ delta: { content: 'é' }, logprobs: { content } }] }, { topLogprobs: 0 });
    expect(events.map((e) => [e.text, e.logprob])).toEqual([
      ['', -1],
      ['é', -1],
    ]);
  });

  it('has no log-probability above 0, but for rounding', () => {
    const said = (logprob: number, top: number) => ({
      choices: [
        {
          delta: { content: 'a' },
          logprobs: { content: [{ token: 'a', logprob, top_logprobs: [{ token: 'b', logprob: top }] }] },
        },
      ],
    });
    const [token] = read(said(2e-4, -9), { topLogprobs: 1 });
    expect([token!.logprob, token!.detail!.logprob]).toEqual([0, 0]);
    for (const [chosen, top] of [
      [127, -1],
      [-1, 0.97],
      [4294967295, 0],
    ] as const) {
      expect(() => read(said(chosen, top), { topLogprobs: 1 })).toThrow(
        /the log-probability [\d.]+, expected 0 or less/,
      );
      expect(read(said(chosen, top), { topLogprobs: null })).toEqual([{ type: 'token', text: 'a', logprob: null }]);
    }
  });

  it('keeps only log-probabilities that are some', () => {
    expect(readLogprobs({ content: [{ token: 'a', logprob: null }, { token: 5 }, 'x', null] })).toEqual([
      { token: 'a', logprob: null },
    ]);
    expect(readLogprobs({ tokens: ['a', 'b'], token_logprobs: [null, -1], top_logprobs: null })).toEqual([
      { token: 'a', logprob: null },
      { token: 'b', logprob: -1, detail: { token: 'b', bytes: [98], logprob: -1, top: [] } },
    ]);
    for (const none of [null, undefined, 5, {}, { content: 'x' }]) expect(readLogprobs(none)).toEqual([]);
  });

  it('orders the likeliest tokens of a completion, best first', () => {
    const [token] = readLogprobs({ tokens: ['b'], token_logprobs: [-2], top_logprobs: [{ b: -2, a: -1, c: -3 }] });
    expect(token!.detail!.top.map((t) => t.token)).toEqual(['a', 'b', 'c']);
  });
});

describe('an event stream', () => {
  it('gives events however it is cut', () => {
    const bytes = new TextEncoder().encode(
      '\ufeff: hi\r\n\r\nevent: x\r\ndata: é\r\ndata: 🦀\r\n\r\nid: 5\nodd: field\ndata: b\n\ndata: c\n',
    );
    for (const size of [1, 2, 3, 7, bytes.length]) {
      const stream = eventStream(server(1_000));
      const events: string[] = [];
      for (let at = 0; at < bytes.length; at += size) events.push(...stream.feed(bytes.subarray(at, at + size)));
      expect(events).toEqual(['é\n🦀', 'b']);
      expect(stream.end()).toEqual(['c']);
    }
  });

  it('bounds a line and an event', () => {
    const encode = (text: string) => new TextEncoder().encode(text);
    expect(errorOf(() => eventStream(server(10)).feed(encode(`data: ${'x'.repeat(20)}`))).code).toBe('server-invalid');
    const stream = eventStream(server(10));
    const lines = () => {
      for (let i = 0; i < 10; i++) stream.feed(encode('data: xx\n'));
    };
    expect(errorOf(lines).code).toBe('server-invalid');
    expect(errorOf(() => eventStream(server(10)).feed(encode(`data: ${'x'.repeat(20)}\n\n`))).code).toBe(
      'server-invalid',
    );
  });
});

describe('small things', () => {
  it('redacts the key in every form', () => {
    const redact = quoter(KEY);
    for (const form of [KEY, encodeURIComponent(KEY), JSON.stringify(KEY)]) expectNoKey(redact(`<${form}>`));
    expect(quoter(null)('text')).toBe('text');
  });

  it('finds details only where there are some', () => {
    expect(serverErrorOf(new Error('x'))).toBeNull();
    expect(serverErrorOf(null)).toBeNull();
  });
});
