/** Retries, the circuit and the limit of calls at a time. The clock stands still: only the network is real. */

import { describe, expect, it } from 'vitest';
import { createRandom } from '../../../src/core/random.js';
import { waitBefore } from '../../../src/engine/server/engine.js';
import { serverError, serverErrorOf } from '../../../src/engine/server/error.js';
import type { OpenAiOptions } from '../../../src/engine/server/options.js';
import { generateRequest } from '../../helpers/generate.js';
import { type ManualClock, manualClock } from '../../helpers/manual-clock.js';
import { LONG, useEngine as useRawEngine } from '../../helpers/openai-engine.js';
import { mutedBaseUrl, refusedBaseUrl, reply, useUpstream } from '../../helpers/scripted-upstream.js';

function useEngine(baseUrl: string, options: Partial<OpenAiOptions> = {}) {
  const clock = manualClock();
  return { clock, ...useRawEngine(baseUrl, { clock, backoff: { baseMs: 0 }, ...options }) };
}

/** Moves on until the promise is settled: whatever timers a call sets, in steps that trip none of its time-outs. */
async function whileMoving<T>(clock: ManualClock, ms: number, promise: Promise<T>): Promise<T> {
  let settled = false;
  void promise.finally(() => {
    settled = true;
  });
  for (let i = 0; i < 5_000 && !settled; i++) {
    await clock.advance(ms);
    // The network is real: our clock must not run ahead of it.
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  return promise;
}

describe('retries', () => {
  it.each([
    ['429', reply.rateLimited()],
    ['500', reply.status(500)],
    ['503', reply.status(503)],
    ['408', reply.status(408)],
    ['a connection closed without an answer', reply.reset()],
  ])('are made after %s, as many as are allowed', async (_, fault) => {
    const upstream = await useUpstream(fault, fault, reply.answer(['ok']));
    const { ask, clock, events, engine } = useEngine(upstream.baseUrl, { retries: 2 });
    const { text } = await whileMoving(clock, 0, ask());
    expect([text, upstream.requests.length]).toEqual(['ok', 3]);
    expect(events.filter((e) => e.type === 'retry').map((e) => e.attempt)).toEqual([1, 2]);
    expect(engine.state().errors).toEqual({});

    upstream.script(fault);
    const failed = await whileMoving(clock, 0, ask());
    expect(failed.error!.code).toBe('server-failed');
    expect(failed.error!.message).toContain('(after 3 attempts)');
    expect(upstream.requests).toHaveLength(6);
    expect(engine.state().errors).toEqual({ 'server-failed': 1 });
  });

  it.each([
    ['400', reply.status(400)],
    ['401', reply.status(401)],
    ['a page', reply.wrongContentType()],
    ['a redirect', reply.redirect('http://127.0.0.1:1/')],
    ['a cut after the first token', reply.cut(['a'])],
    ['a cut before it', reply.cut([])],
    ['an error event', reply.errorEvent([])],
  ])('are not made after %s', async (_, fault) => {
    const upstream = await useUpstream(fault);
    const { ask } = useEngine(upstream.baseUrl, { retries: 3 });
    expect((await ask()).error).toBeDefined();
    expect(upstream.requests).toHaveLength(1);
  });

  it('are made for a refused connection', async () => {
    const { ask, clock, events } = useEngine(await refusedBaseUrl(), { retries: 2 });
    const { error } = await whileMoving(clock, 0, ask());
    expect(error!.code).toBe('server-unreachable');
    expect(events.filter((e) => e.type === 'retry')).toHaveLength(2);
  });

  it('are made for a connection that is not completed in time', async () => {
    const timeouts = { connectMs: 400, totalMs: 60_000 };
    const { ask, clock, events } = useEngine(await mutedBaseUrl(), { retries: 1, timeouts });
    const { error } = await whileMoving(clock, 100, ask());
    expect([error!.code, serverErrorOf(error)?.phase]).toEqual(['server-timeout', 'connect']);
    expect(error!.message).toContain('(after 2 attempts)');
    expect(events.filter((e) => e.type === 'retry')).toHaveLength(1);
  });

  it.each([
    ['seconds', '7', 7_000],
    ['a date', new Date(Date.UTC(2030, 0, 15, 12, 0, 9)).toUTCString(), 9_000],
  ])('wait as long as Retry-After says in %s', async (_, retryAfter, waitMs) => {
    const upstream = await useUpstream(reply.rateLimited(retryAfter), reply.answer(['ok']));
    const timeouts = { connectMs: 60_000, firstByteMs: 60_000, idleMs: 60_000, totalMs: 60_000 };
    const { ask, clock, events } = useEngine(upstream.baseUrl, { retries: 1, timeouts });
    const answer = ask();
    await clock.waitFor(waitMs);
    expect(events).toEqual([{ type: 'retry', attempt: 1, waitMs, code: 'server-failed', status: 429 }]);
    await clock.advance(waitMs - 1);
    expect(upstream.requests).toHaveLength(1);
    await clock.advance(1);
    expect((await answer).text).toBe('ok');
  });

  it.each([
    ['the bound', '21', 60_000],
    ['the call’s own time', '3', 2_500],
  ])('are given up for a Retry-After beyond %s', async (_, retryAfter, totalMs) => {
    const upstream = await useUpstream(reply.rateLimited(retryAfter));
    const { ask } = useEngine(upstream.baseUrl, {
      retries: 3,
      timeouts: { ...LONG, totalMs },
      backoff: { maxRetryAfterMs: 20_000 },
    });
    const { error } = await ask();
    expect(error!.code).toBe('server-failed');
    expect(serverErrorOf(error)).toMatchObject({ status: 429, retryAfterMs: Number(retryAfter) * 1000 });
    expect(upstream.requests).toHaveLength(1);
  });

  it('end with the caller’s signal, in the middle of a wait', async () => {
    const upstream = await useUpstream(reply.rateLimited('3'));
    const { ask, clock, engine } = useEngine(upstream.baseUrl, { retries: 3, circuit: { failures: 1 } });
    const controller = new AbortController();
    const answer = ask({ signal: controller.signal });
    await clock.waitFor(3_000);
    controller.abort();
    expect((await answer).error?.code).toBe('interrupted');
    expect(upstream.requests).toHaveLength(1);
    expect(engine.state()).toMatchObject({ circuit: 'closed', running: 0, errors: {} });
  });

  it('wait longer each time, up to a bound, never all clients alike', () => {
    const error = serverError('server-failed', 'x', { status: 500, retryable: true });
    const backoff = { baseMs: 100, maxMs: 350, maxRetryAfterMs: 1_000 };
    const waits = [1, 2, 3, 4].map((n) => waitBefore(n, error, backoff, createRandom(1))!);
    for (const [i, most] of [100, 200, 350, 350].entries()) {
      expect(waits[i]).toBeGreaterThanOrEqual(most / 2);
      expect(waits[i]).toBeLessThanOrEqual(most);
    }
    const random = createRandom(2);
    expect(new Set(Array.from({ length: 20 }, () => waitBefore(4, error, backoff, random))).size).toBeGreaterThan(10);
    expect(waitBefore(1, serverError('server-refused', 'x', { status: 401 }), backoff, random)).toBeNull();
    expect(waitBefore(1, new Error('x'), backoff, random)).toBeNull();
  });
});

describe('the circuit', () => {
  const circuit = { failures: 2, halfOpenAfterMs: 10_000 };

  it('opens after failures in a row, lets one probe through, and closes when that goes well', async () => {
    const upstream = await useUpstream(reply.status(500));
    const { ask, clock, engine, events } = useEngine(upstream.baseUrl, { circuit });
    await ask();
    expect(engine.state().circuit).toBe('closed');
    await ask();
    expect(engine.state().circuit).toBe('open');
    const refused = await ask();
    expect(refused.error!.code).toBe('server-circuit-open');
    expect(serverErrorOf(refused.error)!.retryAfterMs).toBe(10_000);
    expect(upstream.requests).toHaveLength(2);

    await clock.advance(9_999);
    expect((await ask()).error!.code).toBe('server-circuit-open');
    await clock.advance(1);
    await ask(); // a probe that fails
    expect([engine.state().circuit, upstream.requests.length]).toEqual(['open', 3]);
    expect((await ask()).error!.code).toBe('server-circuit-open');

    await clock.advance(10_000);
    let release = (): void => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    upstream.script(reply.when(held, reply.answer(['ok'])));
    const probe = ask();
    await upstream.waitForRequest(4);
    expect(engine.state().circuit).toBe('half-open');
    expect((await ask()).error!.code).toBe('server-circuit-open'); // one probe at a time
    release();
    expect((await probe).text).toBe('ok');
    expect(engine.state().circuit).toBe('closed');
    expect((await ask()).text).toBe('ok');
    expect(events.filter((e) => e.type === 'circuit').map((e) => e.state)).toEqual([
      ...['open', 'half-open', 'open', 'half-open', 'closed'],
    ]);
    expect(engine.state().errors).toEqual({ 'server-failed': 3, 'server-circuit-open': 4 });
  });

  it('counts failures in a row only, and a failure in the middle of a stream too', async () => {
    const upstream = await useUpstream(
      reply.status(500),
      reply.answer(['ok']),
      reply.cut(['a']),
      reply.invalidJson(['a']),
    );
    const { ask, engine } = useEngine(upstream.baseUrl, { circuit });
    for (let i = 0; i < 3; i++) await ask();
    expect(engine.state().circuit).toBe('closed');
    await ask();
    expect(engine.state().circuit).toBe('open');
  });

  it('stays closed for refusals: the server is well', async () => {
    const upstream = await useUpstream(reply.status(401));
    const { ask, engine } = useEngine(upstream.baseUrl, { circuit });
    for (let i = 0; i < 4; i++) await ask();
    expect([engine.state().circuit, upstream.requests.length]).toEqual(['closed', 4]);
  });

  it('is not opened by a reader that is slow itself', async () => {
    const upstream = await useUpstream(reply.stall(['a']));
    const { engine, clock } = useEngine(upstream.baseUrl, { circuit: { failures: 1 }, timeouts: LONG });
    const answer = engine.generate(generateRequest())[Symbol.asyncIterator]();
    await answer.next();
    expect((await answer.next()).value).toMatchObject({ text: 'a' });
    await clock.advance(LONG.totalMs); // nobody waits for the server in this time
    await expect(answer.next()).rejects.toMatchObject({ code: 'server-timeout' });
    expect(engine.state().circuit).toBe('closed');
  });

  it('closes when the probe is refused: the server is well again', async () => {
    const upstream = await useUpstream(reply.status(500), reply.status(500), reply.status(400));
    const { ask, clock, engine } = useEngine(upstream.baseUrl, { circuit });
    await ask();
    await ask();
    await clock.advance(10_000);
    await ask();
    expect(engine.state().circuit).toBe('closed');
  });

  it('is not closed by a probe that its client cancels; the next call is the probe', async () => {
    const upstream = await useUpstream(reply.status(500), reply.status(500), reply.silent(), reply.answer(['ok']));
    const { ask, clock, engine } = useEngine(upstream.baseUrl, { circuit });
    await ask();
    await ask();
    await clock.advance(10_000);
    const controller = new AbortController();
    const probe = ask({ signal: controller.signal });
    await upstream.waitForRequest(3);
    controller.abort();
    expect((await probe).error!.code).toBe('interrupted');
    expect(engine.state().circuit).toBe('open');
    expect((await ask()).text).toBe('ok');
    expect(engine.state().circuit).toBe('closed');
  });
});

describe('calls at a time', () => {
  it('are bounded, first come first served; waiting is bounded too', async () => {
    const gates: Array<() => void> = [];
    const hold = () =>
      new Promise<void>((resolve) => {
        gates.push(resolve);
      });
    const upstream = await useUpstream((exchange) => reply.when(hold(), reply.answer(['ok']))(exchange));
    const { ask, engine } = useEngine(upstream.baseUrl, { concurrency: 2, queue: 2 });
    const answers = ['a', 'b', 'c', 'd'].map((text) => ask({ prompt: { kind: 'text', text } }));
    await upstream.waitForRequest(2);
    expect(engine.state()).toMatchObject({ running: 2, waiting: 2 });
    expect((await ask()).error!.code).toBe('engine-busy');
    gates[0]!();
    await upstream.waitForRequest(3);
    expect(engine.state()).toMatchObject({ running: 2, waiting: 1 });
    gates[1]!();
    await upstream.waitForRequest(4);
    for (const open of gates) open();
    expect((await Promise.all(answers)).map((a) => a.text)).toEqual(['ok', 'ok', 'ok', 'ok']);
    const order = upstream.requests.map((r) => r.body.prompt);
    expect([order.slice(0, 2).sort(), order.slice(2)]).toEqual([
      ['a', 'b'],
      ['c', 'd'],
    ]);
    expect(engine.state()).toMatchObject({ running: 0, waiting: 0 });
  });

  it('wait no longer than the whole call may take, and leave when cancelled', async () => {
    const upstream = await useUpstream(reply.silent());
    const { ask, clock, engine } = useEngine(upstream.baseUrl, {
      concurrency: 1,
      timeouts: { connectMs: 90_000, firstByteMs: 90_000, totalMs: 5_000 },
    });
    const running = ask();
    await upstream.waitForRequest(1);
    const controller = new AbortController();
    const cancelled = ask({ signal: controller.signal });
    const waiting = ask();
    expect(engine.state().waiting).toBe(2);
    controller.abort();
    expect((await cancelled).error!.code).toBe('interrupted');
    expect(engine.state().waiting).toBe(1);
    await clock.advance(5_000);
    for (const answer of await Promise.all([running, waiting])) {
      expect([answer.error!.code, serverErrorOf(answer.error)!.phase]).toEqual(['server-timeout', 'total']);
    }
    expect(upstream.requests).toHaveLength(1);
  });
});
