import { describe, expect, it } from 'vitest';
import { hearingWarnings } from '../../../src/core/warning.js';
import { type ChatQuestion, openChatClient } from '../../../src/engine/server/chat-client.js';
import { serverErrorOf } from '../../../src/engine/server/error.js';
import { manualClock } from '../../helpers/manual-clock.js';
import { refusedBaseUrl, reply, useUpstream } from '../../helpers/scripted-upstream.js';
import { beginStream, chunkOf } from '../../helpers/upstream-answers.js';

const QUESTION: ChatQuestion = {
  prompt: { kind: 'chat', messages: [{ role: 'user', content: 'Hello' }] },
  maxTokens: 8,
  temperature: 0,
  topP: 1,
  seed: 3,
  stop: [],
  topLogprobs: null,
};
const signal = () => AbortSignal.timeout(10_000);

describe('openChatClient', () => {
  it('times the pieces with text on its clock: not the opening role, not the end', async () => {
    const clock = manualClock();
    const waits = [70, 20, 30];
    const beforeToken = (i: number) => clock.advance(waits[i]!);
    const upstream = await useUpstream(reply.answer(['a', '', 'c'], { beforeToken, promptTokens: 9 }));
    // The server moves the clock; what the client has read by then must have come first.
    const found = await openChatClient({ baseUrl: upstream.baseUrl, model: 'm', clock }).ask(QUESTION, signal());
    expect(found).toMatchObject({ text: 'ac', finishReason: 'stop', source: null, reason: null, signals: {} });
    expect(found.usage).toMatchObject({ promptTokens: 9, completionTokens: 3 });
    expect(found.piecesMs.length).toBe(2);
    expect(found.piecesMs[0]).toBeGreaterThanOrEqual(70);
    expect(found.endMs).toBe(120);
  });

  it('measures real waits', async () => {
    const upstream = await useUpstream(reply.after(60, reply.answer(['a', 'b', 'c'], { tokenDelayMs: 40 })));
    const found = await openChatClient({ baseUrl: upstream.baseUrl, model: 'm' }).ask(QUESTION, signal());
    expect(found.piecesMs.length).toBe(3);
    expect(found.piecesMs[0]).toBeGreaterThan(95);
    expect(found.piecesMs[1]! - found.piecesMs[0]!).toBeGreaterThan(25);
    expect(found.endMs).toBeGreaterThan(175);
    expect(found.endMs).toBeLessThan(2000);
  });

  it('says once what a server does not take', async () => {
    const upstream = await useUpstream(reply.refusing('temperature', ['a']));
    const client = openChatClient({ baseUrl: upstream.baseUrl, model: 'm' });
    const heard: string[] = [];
    await hearingWarnings(
      (text) => heard.push(text),
      async () => {
        for (let i = 0; i < 3; i++) await client.ask(QUESTION, signal());
      },
    );
    expect(heard).toEqual([`The server at ${upstream.baseUrl} does not take temperature: requests go without it.`]);
  });

  it('asks as told: model, greedy, seed, extra fields, usage', async () => {
    const upstream = await useUpstream(reply.answer(['a']));
    const client = openChatClient({ baseUrl: upstream.baseUrl, model: 'm', apiKey: 'k' });
    await client.ask({ ...QUESTION, fields: { crayon: { mode: 'only_on_device' } } }, signal());
    const { body, headers, path } = upstream.requests[0]!;
    expect(path).toBe('/v1/chat/completions');
    expect(headers.authorization).toBe('Bearer k');
    expect(body).toMatchObject({
      model: 'm',
      max_tokens: 8,
      temperature: 0,
      seed: 3,
      stream: true,
      stream_options: { include_usage: true },
      crayon: { mode: 'only_on_device' },
    });
  });

  it("reads crayon's field, and its headers where there is no field", async () => {
    const crayon = { source: 'in_cloud', reason: 'scope', signals: { scope: 2, note: 'x' } };
    const upstream = await useUpstream(
      (exchange) => {
        beginStream(exchange);
        const { response } = exchange;
        response.write(`data: ${chunkOf(exchange, { delta: { role: 'assistant', content: '' } }, { crayon })}\n\n`);
        response.write(`data: ${chunkOf(exchange, { delta: { content: 'yes' }, finish_reason: 'stop' })}\n\n`);
        response.end('data: [DONE]\n\n');
      },
      (exchange) => {
        exchange.response.setHeader('x-crayon-source', 'on_device');
        exchange.response.setHeader('x-crayon-reason', 'accepted');
        return reply.answer(['no'], { usage: 'never' })(exchange);
      },
    );
    const client = openChatClient({ baseUrl: upstream.baseUrl, model: 'm' });
    expect(await client.ask(QUESTION, signal())).toMatchObject({
      text: 'yes',
      source: 'in_cloud',
      reason: 'scope',
      signals: { scope: 2 },
      usage: null,
    });
    expect(await client.ask(QUESTION, signal())).toMatchObject({
      source: 'on_device',
      reason: 'accepted',
      usage: null,
    });
  });

  it('repeats nothing that failed', async () => {
    const upstream = await useUpstream(reply.status(503));
    const client = openChatClient({ baseUrl: upstream.baseUrl, model: 'm' });
    const failure = await client.ask(QUESTION, signal()).catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: 'server-failed' });
    expect(serverErrorOf(failure)?.status).toBe(503);
    expect(upstream.requests.length).toBe(1);
  });

  it('learns once that a server takes no stream_options', async () => {
    const upstream = await useUpstream(reply.refusing('stream_options', ['a']));
    const client = openChatClient({ baseUrl: upstream.baseUrl, model: 'm' });
    for (let i = 0; i < 2; i++) expect(await client.ask(QUESTION, signal())).toMatchObject({ text: 'a', usage: null });
    expect(upstream.requests.length).toBe(3);
  });

  it.each([
    [
      'a stream that breaks off',
      reply.answer(['a'], { finishReason: null, done: false, usage: 'never' }),
      'server-failed',
    ],
    ['a stream without choices', reply.answer([], { finishReason: null, roleChunk: false }), 'server-invalid'],
  ])('fails for %s', async (_, script, code) => {
    const upstream = await useUpstream(script);
    const client = openChatClient({ baseUrl: upstream.baseUrl, model: 'm' });
    await expect(client.ask(QUESTION, signal())).rejects.toMatchObject({ code });
  });

  it('says when nobody is there, when time is up, and when it was stopped', async () => {
    const nobody = openChatClient({ baseUrl: await refusedBaseUrl(), model: 'm' });
    await expect(nobody.ask(QUESTION, signal())).rejects.toMatchObject({ code: 'server-unreachable' });
    const upstream = await useUpstream(reply.after(5_000, reply.answer(['late'])));
    const impatient = openChatClient({ baseUrl: upstream.baseUrl, model: 'm', timeouts: { totalMs: 50 } });
    await expect(impatient.ask(QUESTION, signal())).rejects.toMatchObject({ code: 'server-timeout' });
    const stop = new AbortController();
    const asked = openChatClient({ baseUrl: upstream.baseUrl, model: 'm' }).ask(QUESTION, stop.signal);
    await upstream.waitForRequest(2);
    stop.abort();
    await expect(asked).rejects.toMatchObject({ code: 'interrupted' });
  });
});
