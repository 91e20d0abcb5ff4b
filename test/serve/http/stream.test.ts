/** What happens to a stream besides going well: silence, failure in the middle, a client that leaves, time, the end of the server. */

import { describe, expect, it } from 'vitest';
import type { ScriptedEngine } from '../../helpers/scripted.js';
import { gate, sseData, testApp, until, user } from '../helpers.js';

const CHAT = '/v1/chat/completions';
const body = (more: object = {}) => ({ model: 'edge', messages: user('hi'), stream: true, ...more });

/** Told to stop while it waited, or between two tokens. */
const isFreed = ({ requests }: ScriptedEngine) => ['aborted', 'returned'].includes(requests[0]!.outcome);

describe('streams', () => {
  it('says something in silence', async () => {
    const { opened, open } = gate();
    const answers = [{ tokens: 'one two', beforeToken: (i: number) => (i === 1 ? opened : undefined) }];
    const { post } = testApp({ keepAliveMs: 5, device: { answers } });
    const answer = await post(CHAT, body());
    const reader = answer.body!.pipeThrough(new TextDecoderStream()).getReader();
    let text = '';
    let comments = 0;
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      text += value;
      if (value === ': keep-alive\n\n' && ++comments === 3) open();
    }
    expect(comments).toBeGreaterThanOrEqual(3);
    expect(sseData(text).at(-1)).toBe('[DONE]');
    expect(text.replaceAll(': keep-alive\n\n', '').startsWith('data: ')).toBe(true);
  });

  it('ends with an error event when it fails in the middle, without [DONE]', async () => {
    const answers = [{ tokens: 'one two three', fail: { at: 2, error: 'out-of-memory' as const } }];
    const { post, records, app } = testApp({ device: { answers } });
    const answer = await post(CHAT, body());
    expect(answer.status).toBe(200);
    const events = sseData(await answer.text()).map((data) => JSON.parse(data));
    expect(events.slice(0, -1).flatMap((chunk) => chunk.choices[0].delta.content)).toEqual(['', 'one', ' two']);
    expect(events.at(-1)).toEqual({
      error: expect.objectContaining({ type: 'unavailable_error', code: 'out_of_memory' }),
    });
    expect(records().at(-1)).toMatchObject({ status: 503, code: 'out_of_memory', source: 'on_device' });
    expect(app.running).toBe(0);
  });

  it('is an error where the numbers diverged, before the first token and after it', async () => {
    const answers = ['open' as const, 1].map((at) => ({
      tokens: 'one two',
      fail: { at, error: 'numbers-diverged' as const },
    }));
    const { post } = testApp({ device: { answers }, server: null });
    const whole = await post(CHAT, body());
    expect([whole.status, whole.headers.get('x-should-retry')]).toEqual([500, 'false']);
    expect(await whole.json()).toMatchObject({ error: { type: 'server_error', code: 'numbers_diverged' } });
    const events = sseData(await (await post(CHAT, body())).text()).map((data) => JSON.parse(data));
    expect(events.at(-1)).toEqual({
      error: expect.objectContaining({ type: 'server_error', code: 'numbers_diverged' }),
    });
  });

  it('answers with a status when it fails before the first token', async () => {
    const answers = [{ tokens: 'one', fail: { at: 'open' as const, error: 'engine-busy' as const } }];
    const { post } = testApp({ device: { answers }, server: null });
    const answer = await post(CHAT, body());
    expect([answer.status, answer.headers.get('retry-after')]).toEqual([429, '1']);
    expect(await answer.json()).toMatchObject({ error: { type: 'rate_limit_error', code: 'engine_busy' } });
  });

  it('is 429 with Retry-After when the device’s queue is full', async () => {
    const { opened, open } = gate();
    const device = { answers: [{ tokens: 'one', beforeToken: () => opened }], capacity: 1, queue: 1 };
    const { post, device: engine } = testApp({ device, server: null });
    const running = [post(CHAT, body({ stream: false })), post(CHAT, body({ stream: false }))];
    await until(() => engine.requests.length === 2, 'two requests');
    const third = await post(CHAT, body());
    expect([third.status, third.headers.get('retry-after')]).toEqual([429, '1']);
    open();
    expect((await Promise.all(running)).map(({ status }) => status)).toEqual([200, 200]);
  });

  it.each([true, false])('ends the generation when the client goes away (stream: %s)', async (stream) => {
    const client = new AbortController();
    const answers = [{ tokens: 'one two three', hangAt: 1 as const }];
    const { post, device, app, records } = testApp({ device: { answers } });
    const asked = post(CHAT, body({ stream }), { signal: client.signal });
    await until(() => device.requests[0]?.tokensSent === 1, 'the first token');
    if (stream) {
      const reader = (await asked).body!.getReader();
      await reader.read();
      client.abort();
      await reader.cancel();
    } else {
      client.abort();
      await asked;
    }
    await until(() => app.running === 0, 'the end');
    await until(() => isFreed(device), 'the engine to be told');
    expect(records().at(-1)).toMatchObject({ status: 499 });
    expect(device.load().running).toBe(0);
  });

  it('frees everything when a stream is never read', async () => {
    const { post, device, app } = testApp({ device: { answers: [{ tokens: 'one two', hangAt: 1 }] } });
    const answer = await post(CHAT, body());
    await answer.body!.cancel();
    await until(() => app.running === 0 && isFreed(device), 'the end');
  });

  it('generates no faster than the client reads', async () => {
    const { post, device } = testApp({ device: { answers: 'a '.repeat(500) } });
    const reader = (await post(CHAT, body())).body!.getReader();
    for (let i = 0; i < 5; i++) await reader.read();
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(device.requests[0]!.tokensSent).toBeLessThan(20);
    await reader.cancel();
  });

  it.each([true, false])('keeps to the limit of time (stream: %s)', async (stream) => {
    const answers = [{ tokens: 'one two', hangAt: 1 as const }];
    const { post, app, device } = testApp({ device: { answers }, config: { limits: { request_seconds: 0.05 } } });
    const answer = await post(CHAT, body({ stream }));
    const error = stream ? JSON.parse(sseData(await answer.text()).at(-1)!) : await answer.json();
    expect(answer.status).toBe(stream ? 200 : 504);
    expect(error).toMatchObject({ error: { type: 'timeout_error', code: 'request_timeout' } });
    expect([app.running, device.requests[0]!.outcome]).toEqual([0, 'aborted']);
  });

  it('finishes running requests when it stops, and refuses new ones', async () => {
    const { opened, open } = gate();
    const { post, get, app, device } = testApp({ device: { answers: [{ tokens: 'one', beforeToken: () => opened }] } });
    const running = post(CHAT, body({ stream: false }));
    await until(() => device.requests.length === 1, 'the request');
    const stopped = app.stop(60_000);
    const refused = await post(CHAT, body());
    expect([refused.status, await refused.json()]).toMatchObject([503, { error: { code: 'stopping' } }]);
    expect((await get('/health')).status).toBe(503);
    open();
    expect((await running).status).toBe(200);
    expect(await stopped).toBe(0);
  });

  it('ends requests that do not finish in time when it stops', async () => {
    const { post, app, device } = testApp({ device: { answers: [{ tokens: 'one two', hangAt: 1 }] } });
    const whole = post(CHAT, body({ stream: false }));
    const stream = await post(CHAT, body());
    const text = stream.text();
    await until(() => device.requests.length === 2, 'both');
    expect(await app.stop(20)).toBe(2);
    expect((await whole).status).toBe(503);
    expect(JSON.parse(sseData(await text).at(-1)!)).toMatchObject({ error: { code: 'stopping' } });
    expect(await app.stop(20)).toBe(0);
  });
});
