/** Every fault of a server has its code, within its time-out, and no error holds the key. */

import { beforeAll, describe, expect, it } from 'vitest';
import type { ErrorCode } from '../../../src/core/errors.js';
import { serverErrorOf } from '../../../src/engine/server/error.js';
import type { ServerTimeouts } from '../../../src/engine/server/options.js';
import { KEY, LONG, useEngine } from '../../helpers/openai-engine.js';
import {
  mutedBaseUrl,
  type Reply,
  refusedBaseUrl,
  reply,
  startUpstream,
  useUpstream,
} from '../../helpers/scripted-upstream.js';

/** What a fault does not run into is long, so that a busy machine does not fail the test; the rest is this long. */
const SHORT_MS = 250;

interface Fault {
  reply: Reply;
  code: ErrorCode;
  /** how much of the answer came through before */
  text?: string;
  status?: number;
  phase?: string;
  timeouts?: Partial<ServerTimeouts>;
}

const FAULTS: Record<string, Fault> = {
  'never answers': {
    reply: reply.silent(),
    code: 'server-timeout',
    phase: 'first-byte',
    timeouts: { firstByteMs: SHORT_MS },
  },
  'sends headers only': {
    reply: reply.headersOnly(),
    code: 'server-timeout',
    phase: 'first-byte',
    timeouts: { firstByteMs: SHORT_MS },
  },
  'is slow to the first byte': {
    reply: reply.after(20_000, reply.answer(['a'])),
    code: 'server-timeout',
    phase: 'first-byte',
    timeouts: { firstByteMs: SHORT_MS },
  },
  'stalls in the stream': {
    reply: reply.stall(['a', 'b']),
    code: 'server-timeout',
    phase: 'idle',
    text: 'ab',
    timeouts: { idleMs: SHORT_MS },
  },
  'sends comments for ever': {
    reply: reply.endlessComments(),
    code: 'server-timeout',
    phase: 'total',
    timeouts: { totalMs: 2 * SHORT_MS },
  },
  'trickles its answer': {
    reply: reply.trickle(['a', 'b'], 20),
    code: 'server-timeout',
    phase: 'total',
    timeouts: { totalMs: 2 * SHORT_MS },
  },
  'answers 429': { reply: reply.rateLimited('1'), code: 'server-failed', status: 429 },
  'answers 429 without Retry-After': { reply: reply.rateLimited(), code: 'server-failed', status: 429 },
  'answers 500': { reply: reply.status(500), code: 'server-failed', status: 500 },
  'answers 503': { reply: reply.status(503), code: 'server-failed', status: 503 },
  'answers 400': { reply: reply.status(400), code: 'server-refused', status: 400 },
  'answers 401': { reply: reply.status(401), code: 'server-refused', status: 401 },
  'answers 403': { reply: reply.status(403), code: 'server-refused', status: 403 },
  'answers 404': { reply: reply.status(404), code: 'server-refused', status: 404 },
  'sends invalid JSON': { reply: reply.invalidJson(['a']), code: 'server-invalid', text: 'a' },
  'sends an invalid document': { reply: reply.invalidDocument(), code: 'server-invalid' },
  'sends a page': { reply: reply.wrongContentType(), code: 'server-invalid', status: 200 },
  'sends JSON that is no completion': {
    reply: reply.raw(200, { 'content-type': 'application/json' }, '[1]'),
    code: 'server-invalid',
  },
  'sends a stream without a choice': {
    reply: reply.raw(200, { 'content-type': 'text/event-stream' }, 'data: [DONE]\n\n'),
    code: 'server-invalid',
  },
  'is cut in an event': { reply: reply.cut(['a', 'b']), code: 'server-failed', text: 'ab' },
  'ends in an event': { reply: reply.endInEvent(['a', 'b']), code: 'server-failed', text: 'ab' },
  'closes without an answer': { reply: reply.reset(), code: 'server-failed' },
  'sends an error event first': { reply: reply.errorEvent([]), code: 'server-failed' },
  'sends an error event later': { reply: reply.errorEvent(['a']), code: 'server-failed', text: 'a' },
  'sends a line without end': { reply: reply.endlessLine(), code: 'server-invalid' },
  'sends a document without end': { reply: reply.endlessDocument(), code: 'server-invalid' },
  'filters all of the content': {
    reply: reply.answer([], { finishReason: 'content_filter' }),
    code: 'server-refused',
  },
  'ends without a reason': { reply: reply.answer(['a'], { finishReason: null }), code: 'server-invalid', text: 'a' },
  'has not a word to say': { reply: reply.answer([]), code: 'server-refused' },
  'calls a tool': { reply: reply.answer([], { finishReason: 'tool_calls' }), code: 'server-invalid' },
};

// The first request loads node's fetch, which takes longer than the short time-outs where the machine is busy.
beforeAll(async () => {
  const upstream = await startUpstream(reply.answer(['a']));
  await fetch(`${upstream.baseUrl}/completions`, { method: 'POST', body: '{}' }).then((r) => r.text());
  await upstream.close();
});

describe('a server that', () => {
  it.each(Object.entries(FAULTS))('%s', async (_, fault) => {
    const upstream = await useUpstream(fault.reply);
    const { ask, engine, events } = useEngine(upstream.baseUrl, {
      timeouts: { ...LONG, ...fault.timeouts },
      maxEventBytes: 100_000,
      maxAnswerBytes: 1_000_000,
    });
    const start = performance.now();
    const { error, text, end } = await ask();
    const tookMs = performance.now() - start;
    const details = serverErrorOf(error);
    expect([error?.code, text, end]).toEqual([fault.code, fault.text ?? expect.any(String), undefined]);
    expect(details?.status ?? undefined).toBe(fault.status);
    expect(details?.phase ?? undefined).toBe(fault.phase);
    expect(error!.message).toContain(`server big at ${upstream.baseUrl}`);
    const limitMs = Object.values(fault.timeouts ?? {})[0] ?? 0;
    expect(tookMs).toBeGreaterThan(limitMs - 5);
    expect(tookMs).toBeLessThan(limitMs + 5_000);
    await upstream.waitForRequest(1);
    // One request, not repeated; its connection is given up; the engine is as it was.
    expect(upstream.requests).toHaveLength(1);
    await upstream.requests[0]!.over;
    expect(engine.state()).toMatchObject({ running: 0, waiting: 0, errors: { [fault.code]: 1 } });
    expect(events.filter((e) => e.type === 'error')).toEqual([
      { type: 'error', code: fault.code, status: fault.status ?? null },
    ]);
  });

  it('sends tokens without end is stopped', async () => {
    const upstream = await useUpstream(reply.endlessTokens());
    const { error, tokens } = await useEngine(upstream.baseUrl).ask({ maxTokens: 2 });
    expect(error?.code).toBe('server-invalid');
    expect(tokens.length).toBe(16 * 2 + 256);
    expect(await upstream.requests[0]!.over).toBe('broken');
  });

  it('refuses the connection', async () => {
    const { ask } = useEngine(await refusedBaseUrl());
    const { error } = await ask();
    expect(error?.code).toBe('server-unreachable');
    expect(serverErrorOf(error)).toMatchObject({ systemCode: 'ECONNREFUSED', status: null });
  });

  it('never completes the connection', async () => {
    const { ask } = useEngine(await mutedBaseUrl(), { timeouts: { ...LONG, connectMs: SHORT_MS } });
    const start = performance.now();
    const { error } = await ask();
    expect([error?.code, serverErrorOf(error)?.phase]).toEqual(['server-timeout', 'connect']);
    expect(performance.now() - start).toBeLessThan(5_000);
  });

  it.each([
    ['UND_ERR_CONNECT_TIMEOUT', 'connect'],
    ['UND_ERR_HEADERS_TIMEOUT', 'first-byte'],
  ])('runs into a time-out of fetch’s own (%s) gives a time-out', async (code, phase) => {
    const failing = () =>
      Promise.reject(new TypeError('fetch failed', { cause: Object.assign(new Error(KEY), { code }) }));
    const { error } = await useEngine('http://server.invalid/v1', { fetch: failing }).ask();
    expect([error?.code, serverErrorOf(error)?.phase]).toEqual(['server-timeout', phase]);
  });

  it('takes longer to think than to connect is waited for', async () => {
    const upstream = await useUpstream(reply.after(800, reply.answer(['ok'])));
    const { ask } = useEngine(upstream.baseUrl, { timeouts: { ...LONG, connectMs: 700 } });
    expect((await ask()).text).toBe('ok');
  });

  it.each([true, false])('keeps a complete answer open gives it all the same (with usage: %s)', async (withUsage) => {
    const usage = withUsage ? ',"usage":{"prompt_tokens":3,"completion_tokens":1}' : '';
    const upstream = await useUpstream(({ response }) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write(`data: {"choices":[{"text":"ok","finish_reason":"stop"}]${usage}}\n\n`);
    });
    const { ask } = useEngine(upstream.baseUrl, { timeouts: { ...LONG, idleMs: SHORT_MS } });
    const { text, end, error } = await ask();
    expect([text, error, end?.usage.estimated ?? false]).toEqual(['ok', undefined, !withUsage]);
    expect(await upstream.requests[0]!.over).toBe('broken');
  });

  it('goes on after [DONE] is left', async () => {
    const upstream = await useUpstream(({ response }) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write('data: {"choices":[{"text":"ok","finish_reason":"stop"}]}\n\ndata: [DONE]\n\n');
    });
    const { text } = await useEngine(upstream.baseUrl).ask();
    expect([text, await upstream.requests[0]!.over]).toEqual(['ok', 'broken']);
  });

  it.each([301, 302, 307, 308])(
    'redirects with %i is not followed, and the other place never sees the key',
    async (status) => {
      const other = await useUpstream(reply.answer(['stolen']));
      const upstream = await useUpstream(reply.redirect(`${other.baseUrl}/chat/completions?${KEY}`, status));
      const { error } = await useEngine(upstream.baseUrl).ask();
      expect([error?.code, serverErrorOf(error)?.status]).toEqual(['server-refused', status]);
      expect(error!.message).toContain(new URL(other.baseUrl).origin);
      expect(other.requests).toEqual([]);
    },
  );

  it('echoes the key is quoted without it, and not at length', async () => {
    const echo = `Incorrect API key provided: ${KEY}, ${encodeURIComponent(KEY)}. ${'Very long. '.repeat(500)}`;
    for (const fault of [
      reply.status(401, echo),
      reply.raw(401, { 'content-type': 'text/plain' }, echo),
      reply.errorEvent(['a'], echo),
      reply.raw(200, { 'content-type': KEY }, ''),
      reply.raw(200, { 'content-type': 'application/json' }, KEY),
      reply.raw(200, { 'content-type': 'application/json' }, JSON.stringify({ error: { api_key: KEY } })),
    ]) {
      const upstream = await useUpstream(fault);
      const { error } = await useEngine(upstream.baseUrl).ask(); // ask() searches the error for the key
      expect(error!.message).toContain('[key]');
      expect(error!.message.length).toBeLessThan(600);
    }
  });

  it('says what it does not like is quoted', async () => {
    const upstream = await useUpstream(reply.status(404, 'The model `big`\ndoes not exist.'));
    const { error } = await useEngine(upstream.baseUrl).ask();
    expect(error!.message).toBe(`server big at ${upstream.baseUrl}: answered 404: The model \`big\` does not exist.`);
    expect(error!.hint).toContain('model name');
  });
});

describe('the caller’s signal', () => {
  it.each<[string, Reply]>([
    ['before an answer', reply.silent()],
    ['before the first byte', reply.headersOnly()],
    ['in the stream', reply.stall(['a'])],
  ])('ends the request %s at once, and is no failure', async (_, fault) => {
    const upstream = await useUpstream(fault);
    const { ask, engine, events } = useEngine(upstream.baseUrl, { circuit: { failures: 1 }, retries: 3 });
    const controller = new AbortController();
    const answer = ask({ signal: controller.signal });
    const request = await upstream.waitForRequest(1);
    setTimeout(() => controller.abort(new Error('the client left')), 30);
    expect((await answer).error?.code).toBe('interrupted');
    expect(await request.over).toBe('broken');
    expect(upstream.requests).toHaveLength(1);
    expect(engine.state()).toMatchObject({ circuit: 'closed', running: 0, errors: {} });
    expect(events.filter((e) => e.type !== 'usage')).toEqual([]);
  });

  it('sends nothing when it has fired before', async () => {
    const upstream = await useUpstream(reply.answer(['a']));
    const { error } = await useEngine(upstream.baseUrl).ask({ signal: AbortSignal.abort() });
    expect([error?.code, upstream.requests.length]).toEqual(['interrupted', 0]);
  });

  it('is not needed when the reader just stops', async () => {
    const upstream = await useUpstream(reply.stall(['a', 'b']));
    const { engine } = useEngine(upstream.baseUrl);
    const { generateRequest } = await import('../../helpers/generate.js');
    for await (const event of engine.generate(generateRequest())) if (event.type === 'token') break;
    expect(await upstream.requests[0]!.over).toBe('broken');
    expect(engine.state()).toMatchObject({ running: 0, errors: {} });
  });

  it('is the engine’s own when it is closed', async () => {
    const upstream = await useUpstream(reply.stall(['a']));
    const { ask, engine } = useEngine(upstream.baseUrl);
    const answer = ask();
    const request = await upstream.waitForRequest(1);
    await engine.close();
    expect((await answer).error?.code).toBe('interrupted');
    expect(await request.over).toBe('broken');
  });
});
