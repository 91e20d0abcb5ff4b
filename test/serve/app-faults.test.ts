/**
 * Every fault of the server LLM, in every mode, through HTTP on loopback: the right source, the right status, no leak, no
 * crash, within its time-out. The upstream is a real server, the engine over it the real one; the device is scripted.
 */

import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { openOpenAiEngine } from '../../src/engine/server/engine.js';
import type { Mode } from '../../src/routing/types.js';
import { type Listening, listen } from '../../src/serve/http/listen.js';
import type { ScriptedEngine } from '../helpers/scripted.js';
import { type Reply, refusedBaseUrl, reply, startUpstream, type Upstream } from '../helpers/scripted-upstream.js';
import { sseData, type TestApp, testApp, until, user } from './helpers.js';

const KEY = 'sk-upstream-key-4711';
const PROMPT = 'a-private-prompt';
/** No fault may take longer than the whole call's limit and a bit. */
const TOTAL_MS = 1000;
const LIMIT_MS = TOTAL_MS + 2_000;

interface Fault {
  reply: Reply;
  /** status under only_in_cloud, whole and streamed alike, because nothing has been sent yet */
  status: number;
  /** code in the error, and of the fall-back */
  code: string;
  retryAfter?: string;
}

/** Faults before the first token: another source may still take over. */
const BEFORE: Record<string, Fault> = {
  'slow first byte': { reply: reply.silent(), status: 504, code: 'server_timeout' },
  'headers only': { reply: reply.headersOnly(), status: 504, code: 'server_timeout' },
  '429 without Retry-After': { reply: reply.rateLimited(), status: 502, code: 'server_failed' },
  '429 with a long Retry-After': {
    reply: reply.rateLimited('77'),
    status: 502,
    code: 'server_failed',
    retryAfter: '77',
  },
  '500': { reply: reply.status(500), status: 502, code: 'server_failed' },
  '401': { reply: reply.status(401, `bad key ${KEY}`), status: 502, code: 'server_refused' },
  '404': { reply: reply.status(404), status: 502, code: 'server_refused' },
  'invalid JSON': { reply: reply.invalidJson(), status: 502, code: 'server_invalid' },
  'invalid document': { reply: reply.invalidDocument(), status: 502, code: 'server_invalid' },
  'wrong content type': { reply: reply.wrongContentType(), status: 502, code: 'server_invalid' },
  'cut before any event': { reply: reply.cut([]), status: 502, code: 'server_failed' },
  reset: { reply: reply.reset(), status: 502, code: 'server_failed' },
  'error event': { reply: reply.errorEvent([]), status: 502, code: 'server_failed' },
  'endless line': { reply: reply.endlessLine(), status: 502, code: 'server_invalid' },
  'endless document': { reply: reply.endlessDocument(), status: 502, code: 'server_invalid' },
  'endless comments': { reply: reply.endlessComments(), status: 504, code: 'server_timeout' },
  'an empty answer': { reply: reply.answer([]), status: 502, code: 'server_refused' },
  'an empty answer in one document': { reply: reply.document([]), status: 502, code: 'server_refused' },
  'a filter that leaves nothing': {
    reply: reply.answer([], { finishReason: 'content_filter' }),
    status: 502,
    code: 'server_refused',
  },
  'a tool call': { reply: reply.answer([], { finishReason: 'tool_calls' }), status: 502, code: 'server_invalid' },
  'redirect elsewhere': { reply: reply.redirect('http://203.0.113.1/v1/steal'), status: 502, code: 'server_refused' },
};

/** Faults after tokens have been passed on: the stream ends with an error event. */
const AFTER: Record<string, { reply: Reply; status: number; code: string }> = {
  stall: { reply: reply.stall(['far ', 'away']), status: 504, code: 'server_timeout' },
  cut: { reply: reply.cut(['far ', 'away']), status: 502, code: 'server_failed' },
  'invalid JSON': { reply: reply.invalidJson(['far ', 'away']), status: 502, code: 'server_invalid' },
  'error event': { reply: reply.errorEvent(['far ', 'away']), status: 502, code: 'server_failed' },
  abort: { reply: reply.answer(['far ', 'away'], { finishReason: 'abort' }), status: 502, code: 'server_failed' },
  'no reason': { reply: reply.answer(['far ', 'away'], { finishReason: null }), status: 502, code: 'server_invalid' },
};

let upstream: Upstream;
let refused: string;
beforeAll(async () => {
  upstream = await startUpstream();
  refused = await refusedBaseUrl();
});
afterAll(() => upstream.close());

interface Rig {
  test: TestApp;
  device: ScriptedEngine;
  listening: Listening;
}

let rigs: Rig[] = [];
beforeEach(() => {
  upstream.requests.length = 0;
  return async () => {
    for (const { listening, test } of rigs) {
      await listening.stop(0);
      await test.parts.server?.close();
    }
    rigs = [];
  };
});

/** The device would answer, but for a complexity above the threshold: `prefer_on_device` then wants the server. */
async function serve(baseUrl: string, edgeFails = false): Promise<Rig> {
  const server = openOpenAiEngine({
    baseUrl,
    model: 'big',
    apiKey: KEY,
    retries: 1,
    backoff: { baseMs: 5, maxMs: 10 },
    timeouts: { connectMs: 300, firstByteMs: 500, idleMs: 300, totalMs: TOTAL_MS },
    maxAnswerBytes: 200_000,
    maxEventBytes: 100_000,
  });
  const answers = edgeFails
    ? [{ tokens: '', fail: { at: 'open' as const, error: 'out-of-memory' as const } }]
    : 'near by';
  const config = { routing: { thresholds: { complexity: 5 } } };
  const test = testApp({ config, server, device: { promptNll: 9, answers } });
  const listening = await listen(test.app, { host: '127.0.0.1', port: 0 });
  const rig = { test, device: test.device, listening };
  rigs.push(rig);
  return rig;
}

async function ask({ listening }: Rig, mode: Mode, stream: boolean) {
  const started = performance.now();
  const answer = await fetch(`${listening.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'edge', messages: user(PROMPT), stream, max_tokens: 8, crayon: { mode } }),
    signal: AbortSignal.timeout(LIMIT_MS),
  });
  const text = await answer.text();
  const ms = performance.now() - started;
  const isStream = answer.headers.get('content-type')?.startsWith('text/event-stream') === true;
  const events = isStream ? sseData(text) : [];
  const documents = (isStream ? events.filter((e) => e !== '[DONE]') : [text]).map((e) => JSON.parse(e));
  const content = documents
    .map(({ choices }) => choices?.[0]?.message?.content ?? choices?.[0]?.delta?.content ?? '')
    .join('');
  return {
    status: answer.status,
    source: answer.headers.get('x-crayon-source'),
    reason: answer.headers.get('x-crayon-reason'),
    retryAfter: answer.headers.get('retry-after'),
    content,
    isDone: isStream ? events.at(-1) === '[DONE]' : null,
    error: documents.at(-1)?.error,
    crayon: documents[0]?.crayon,
    all: text + JSON.stringify([...answer.headers]),
    ms,
  };
}

/** Nothing of the prompt or the key is in the log, the metrics or (the key) the answer; the server still lives. */
async function expectClean({ test, listening }: Rig, all: string): Promise<void> {
  const metrics = await (await fetch(`${listening.url}/metrics`)).text();
  expect((await fetch(`${listening.url}/health`)).status).toBe(200);
  const log = test.log.join('');
  for (const text of [log, metrics, all]) expect(text).not.toContain(KEY);
  for (const text of [log, metrics]) expect(text).not.toContain(PROMPT);
  expect(test.app.running).toBe(0);
}

const NAMES = ['refused', ...Object.keys(BEFORE)];
const fault = (name: string): Fault =>
  name === 'refused' ? { reply: reply.status(500), status: 502, code: 'server_unreachable' } : BEFORE[name]!;

describe.each(NAMES)('server fault before the first token: %s', (name) => {
  const { reply: script, status, code, retryAfter } = fault(name);
  const start = async (edgeFails = false) => {
    upstream.script(script);
    return serve(name === 'refused' ? refused : upstream.baseUrl, edgeFails);
  };

  it.each([false, true])('only_in_cloud is an error, never the device (stream: %s)', async (stream) => {
    const rig = await start();
    const answer = await ask(rig, 'only_in_cloud', stream);
    expect([answer.status, answer.error?.code, answer.source]).toEqual([status, code, null]);
    if (retryAfter !== undefined) expect(answer.retryAfter).toBe(retryAfter);
    expect([rig.device.requests, rig.device.tokenized, rig.device.nllRequests]).toEqual([[], [], []]);
    expect(answer.ms).toBeLessThan(LIMIT_MS);
    await expectClean(rig, answer.all);
  });

  it.each<[Mode, boolean]>([
    ['prefer_in_cloud', false],
    ['prefer_in_cloud', true],
    ['prefer_on_device', false],
    ['prefer_on_device', true],
  ])('%s is answered by the device, which says so (stream: %s)', async (mode, stream) => {
    const rig = await start();
    const answer = await ask(rig, mode, stream);
    expect(answer).toMatchObject({ status: 200, source: 'on_device', reason: 'server-failed', content: 'near by' });
    expect(answer.isDone).toBe(stream ? true : null);
    expect(answer.crayon).toMatchObject({ fallback_from: 'in_cloud', failure: code.replace('_', '-') });
    expect(answer.ms).toBeLessThan(LIMIT_MS);
    await expectClean(rig, answer.all);
  });

  it('only_on_device asks the server nothing, even when the device fails', async () => {
    const well = await start();
    expect(await ask(well, 'only_on_device', true)).toMatchObject({ status: 200, source: 'on_device', reason: 'mode' });
    const ill = await start(true);
    const answer = await ask(ill, 'only_on_device', false);
    expect([answer.status, answer.error?.code, answer.source]).toEqual([503, 'out_of_memory', null]);
    expect(upstream.requests).toEqual([]);
    await expectClean(ill, answer.all);
  });

  it('both failing is the server’s error where the server was wanted', async () => {
    const rig = await start(true);
    const answer = await ask(rig, 'prefer_in_cloud', false);
    expect([answer.status, answer.error?.code]).toEqual([status, code]);
    await expectClean(rig, answer.all);
  });
});

describe.each(Object.entries(AFTER))('server fault after tokens: %s', (_, { reply: script, status, code }) => {
  it.each<Mode>(['only_in_cloud', 'prefer_in_cloud', 'prefer_on_device'])(
    '%s never changes the source of a stream, which ends with an error event; what is wanted whole may be the device’s',
    async (mode) => {
      upstream.script(script);
      const rig = await serve(upstream.baseUrl);
      const answer = await ask(rig, mode, true);
      expect(answer).toMatchObject({ status: 200, source: 'in_cloud', content: 'far away', isDone: false });
      expect(answer.error).toMatchObject({ type: 'upstream_error', code });
      expect(rig.device.requests).toEqual([]);
      expect(answer.ms).toBeLessThan(LIMIT_MS);
      const whole = await ask(rig, mode, false);
      if (mode === 'only_in_cloud') expect([whole.status, whole.error?.code]).toEqual([status, code]);
      else
        expect(whole).toMatchObject({ status: 200, source: 'on_device', reason: 'server-failed', content: 'near by' });
      await expectClean(rig, answer.all + whole.all);
    },
  );
});

describe('a server that works', () => {
  it('answers in the cloud, and gets neither adapters nor crayon’s own fields', async () => {
    upstream.script(reply.answer(['far ', 'away']));
    const rig = await serve(upstream.baseUrl);
    for (const mode of ['only_in_cloud', 'prefer_in_cloud'] as const) {
      expect(await ask(rig, mode, true)).toMatchObject({ source: 'in_cloud', reason: 'mode', content: 'far away' });
    }
    expect(await ask(rig, 'prefer_on_device', false)).toMatchObject({ source: 'in_cloud', reason: 'complexity' });
    expect(upstream.requests).toHaveLength(3);
    for (const { body, headers, text } of upstream.requests) {
      expect(body).toMatchObject({ model: 'big', messages: user(PROMPT) });
      expect(headers.authorization).toBe(`Bearer ${KEY}`);
      expect(text).not.toMatch(/crayon|adapter|lora/);
    }
  });

  it('passes endless tokens on until the limit of bytes, and stops asking when the client goes', async () => {
    upstream.script(reply.endlessTokens());
    const rig = await serve(upstream.baseUrl);
    const client = new AbortController();
    const answer = await fetch(`${rig.listening.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'edge', messages: user(PROMPT), stream: true, crayon: { mode: 'only_in_cloud' } }),
      signal: client.signal,
    });
    const reader = answer.body!.getReader();
    await reader.read();
    client.abort();
    const request = await upstream.waitForRequest(1);
    expect(await request.over).toBe('broken');
    await until(() => rig.test.app.running === 0, 'the end');
  });

  it('opens its circuit after failures, and answers on the device at once', async () => {
    upstream.script(reply.status(500));
    const rig = await serve(upstream.baseUrl);
    for (let i = 0; i < 5; i++) await ask(rig, 'prefer_in_cloud', false);
    const sent = upstream.requests.length;
    expect(await ask(rig, 'prefer_in_cloud', false)).toMatchObject({ source: 'on_device', reason: 'circuit-open' });
    const only = await ask(rig, 'only_in_cloud', false);
    expect([only.status, only.error?.code, only.retryAfter !== null]).toEqual([503, 'server_circuit_open', true]);
    expect(upstream.requests).toHaveLength(sent);
    expect(await (await fetch(`${rig.listening.url}/metrics`)).text()).toContain(
      'crayon_upstream_circuit{state="open"} 1',
    );
  });
});
