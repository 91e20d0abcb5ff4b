/** What the server LLM is told and what becomes of its words, end to end: official client, HTTP, router, engine, a scripted upstream. */

import OpenAI from 'openai';
import { describe, expect, it, onTestFinished } from 'vitest';
import { openOpenAiEngine, type ServerEvent } from '../../src/engine/server/engine.js';
import type { JsonObject } from '../../src/files/json.js';
import { listen } from '../../src/serve/http/listen.js';
import { createMetrics } from '../../src/serve/metrics.js';
import { type Reply, reply, useUpstream } from '../helpers/scripted-upstream.js';
import { testApp, user } from './helpers.js';

const PROMPT = 'a private prompt';

async function serve(script: Reply, config: JsonObject = {}) {
  const upstream = await useUpstream(script);
  const metrics = createMetrics();
  const events: ServerEvent[] = [];
  const server = openOpenAiEngine({
    baseUrl: upstream.baseUrl,
    model: 'big',
    retries: 0,
    onEvent: (event) => {
      metrics.upstream(event);
      events.push(event);
    },
  });
  const test = testApp({ server, config, device: { answers: 'near by' } });
  const listening = await listen(test.app, { host: '127.0.0.1', port: 0 });
  onTestFinished(async () => {
    await listening.stop(0);
    await server.close();
  });
  const client = new OpenAI({ baseURL: `${listening.url}/v1`, apiKey: 'k', maxRetries: 0 });
  const create = async (mode: string, more: object = {}) => {
    const asked: unknown = { model: 'edge', messages: user(PROMPT), crayon: { mode }, ...more };
    const answer: unknown = await client.chat.completions.create(
      asked as OpenAI.ChatCompletionCreateParamsNonStreaming,
    );
    return answer as OpenAI.ChatCompletion & { crayon: { source: string } };
  };
  async function streamed(mode: string) {
    let text = '';
    let finish: string | null = null;
    try {
      const stream = (await create(mode, { stream: true })) as unknown as AsyncIterable<OpenAI.ChatCompletionChunk>;
      for await (const { choices } of stream) {
        text += choices[0]?.delta.content ?? '';
        finish = choices[0]?.finish_reason ?? finish;
      }
      return { text, finish, error: null };
    } catch (error) {
      return { text, finish, error };
    }
  }
  return { upstream, create, streamed, metrics, events, test };
}

/** The deltas as a stream that says nothing else. */
const stream =
  (...choices: object[]): Reply =>
  (exchange) => {
    const body = choices.map(
      (choice) =>
        `data: ${JSON.stringify({ model: 'secret-deployment', system_fingerprint: 'fp', choices: [choice] })}\n\n`,
    );
    return reply.raw(
      200,
      { 'content-type': 'text/event-stream', 'x-upstream': 'header' },
      `${body.join('')}data: [DONE]\n\n`,
    )(exchange);
  };

const ABORT = stream(
  { delta: { role: 'assistant', content: 'The ferry leaves at' } },
  { delta: {}, finish_reason: 'abort' },
);
const PARTS = stream(
  { delta: { role: 'assistant', content: [{ type: 'thinking', thinking: [{ type: 'text', text: 'hm' }] }] } },
  { delta: { content: [{ type: 'text', text: 'Forty-two' }] } },
  { delta: {}, finish_reason: 'stop' },
);

describe('a server that gives its answer up', () => {
  it('is 502, an error in a stream that has begun, and the device’s where it may stand in', async () => {
    const { create, streamed, metrics } = await serve(ABORT);
    await expect(create('only_in_cloud')).rejects.toMatchObject({ status: 502, code: 'server_failed' });
    const { text, finish, error } = await streamed('only_in_cloud');
    expect([text, finish, error]).toMatchObject(['The ferry leaves at', null, { code: 'server_failed' }]);
    const answer = await create('prefer_in_cloud');
    expect([answer.choices[0]!.message.content, answer.crayon.source]).toEqual(['near by', 'on_device']);
    expect(await metrics.text()).toContain('crayon_upstream_finishes_total{reason="abort"} 3');
  });

  it('before any text leaves a stream to the device, after a role and empty pieces too', async () => {
    const { streamed } = await serve(
      stream(
        { delta: { role: 'assistant', content: '' } },
        { delta: { content: '' } },
        { delta: {}, finish_reason: 'abort' },
      ),
    );
    expect(await streamed('prefer_in_cloud')).toEqual({ text: 'near by', finish: 'stop', error: null });
  });
});

describe('an answer', () => {
  it('in parts is joined, without its thoughts', async () => {
    const { create, streamed } = await serve(PARTS);
    expect((await create('only_in_cloud')).choices[0]!.message.content).toBe('Forty-two');
    expect(await streamed('only_in_cloud')).toEqual({ text: 'Forty-two', finish: 'stop', error: null });
  });

  it('that a filter ended says so, as OpenAI has it', async () => {
    const { create, streamed } = await serve(
      stream({ delta: { content: 'I wil' } }, { delta: {}, finish_reason: 'SAFETY' }),
    );
    const { choices } = await create('only_in_cloud');
    expect([choices[0]!.message.content, choices[0]!.finish_reason]).toEqual(['I wil', 'content_filter']);
    expect(await streamed('only_in_cloud')).toMatchObject({ finish: 'content_filter', error: null });
  });

  it('has the configured name of the model, and nothing else of what the server says of itself', async () => {
    const { create } = await serve(PARTS);
    const answer = await create('only_in_cloud');
    expect(answer.model).toBe('big');
    expect(JSON.stringify(answer)).not.toMatch(/secret-deployment|fp/);
  });
});

describe('a request', () => {
  const keys = (bodies: ReadonlyArray<{ body: object }>) =>
    bodies.map(({ body }) => Object.keys(body).sort().join(' '));

  it('tells the server what its client asked for, and no default of ours', async () => {
    const { create, upstream } = await serve(reply.answer(['ok']));
    for (const mode of ['only_in_cloud', 'prefer_in_cloud']) {
      await create(mode);
      await create(mode, { temperature: 0, max_tokens: 20 });
      await create(mode, { top_p: 1, seed: 5, stop: ['x'], logprobs: true });
    }
    const plain = 'messages model stream stream_options';
    const expected = [
      plain,
      'max_tokens messages model stream stream_options temperature',
      'logprobs messages model seed stop stream stream_options top_p',
    ];
    expect(keys(upstream.requests)).toEqual([...expected, ...expected]);
  });

  it('is bounded by what the configuration says, not by the room in the device’s context', async () => {
    const { create, upstream } = await serve(reply.answer(['ok']), { limits: { max_tokens: 5000 } });
    await create('prefer_in_cloud');
    await create('prefer_in_cloud', { max_tokens: 9000 });
    expect(upstream.requests.map(({ body }) => body.max_tokens)).toEqual([5000, 5000]);
  });

  it('that a server takes without a parameter only is sent so, and that is counted', async () => {
    const { create, metrics, events, upstream } = await serve(reply.refusing('temperature', ['fine']));
    for (let i = 0; i < 2; i++) {
      expect((await create('only_in_cloud', { temperature: 0 })).choices[0]!.message.content).toBe('fine');
    }
    expect(upstream.requests.length).toBe(3);
    expect(events.filter(({ type }) => type === 'adapted').length).toBe(1);
    expect(await metrics.text()).toContain(
      'crayon_upstream_adapted_parameters_total{parameter="temperature",change="left-out"} 1',
    );
  });

  it('that a server refuses for what its answer depends on is 502 by name, or the device’s', async () => {
    const { create } = await serve(reply.refusing('stop', ['fine']));
    // `stop_sequences` is tried, which the scripted server takes.
    expect((await create('only_in_cloud', { stop: ['x'] })).choices[0]!.message.content).toBe('fine');
    const refusing = await serve(({ request, response }) => {
      const parameter = 'seed' in request.body ? 'seed' : 'random_seed';
      response.writeHead(422, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ detail: [{ type: 'extra_forbidden', loc: ['body', parameter], msg: 'no' }] }));
    });
    await expect(refusing.create('only_in_cloud', { seed: 3 })).rejects.toMatchObject({
      status: 502,
      message: expect.stringContaining('does not take seed'),
    });
    const answer = await refusing.create('prefer_in_cloud', { seed: 3 });
    expect(answer.crayon.source).toBe('on_device');
  });

  it('leaves no trace in the log where the server quotes it', async () => {
    const { create, test } = await serve(({ request, response }) => {
      response.writeHead(400, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ error: { message: `cannot answer ${JSON.stringify(request.body.messages)}` } }));
    });
    await expect(create('only_in_cloud')).rejects.toMatchObject({ status: 502 });
    await create('prefer_in_cloud');
    expect(test.log.join('')).not.toContain(PROMPT);
  });
});
