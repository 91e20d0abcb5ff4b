import { describe, expect, it } from 'vitest';
import {
  isGood,
  type LoadOptions,
  type LoadPlan,
  latenciesOf,
  nextGap,
  patternName,
  runLoad,
  summariseLoad,
} from '../../../src/bench/load/load.js';
import { CrayonError } from '../../../src/core/errors.js';
import { createRandom } from '../../../src/core/random.js';
import { sleep } from '../../../src/engine/clock.js';
import type { TimedAnswer } from '../../../src/engine/server/chat-client.js';
import { serverError } from '../../../src/engine/server/error.js';
import { type ManualClock, manualClock } from '../../helpers/manual-clock.js';

function answer(over: Partial<TimedAnswer> = {}): TimedAnswer {
  return {
    text: 'a b c',
    piecesMs: [100, 120, 160],
    endMs: 170,
    finishReason: 'stop',
    details: [],
    usage: { promptTokens: 5, completionTokens: 3, cachedTokens: null },
    source: null,
    reason: null,
    signals: {},
    ...over,
  };
}

const PLAN: LoadPlan = {
  pattern: { kind: 'closed', clients: 1 },
  requests: null,
  seconds: null,
  warmup: 0,
  seed: 1,
  goodput: {},
};

/** Requests that take a known time on a clock that a test moves. */
async function underLoad(clock: ManualClock, plan: Partial<LoadPlan>, over: Partial<LoadOptions> = {}) {
  const asked: Array<{ at: number; prompt: string }> = [];
  const started = clock.now();
  const options: LoadOptions = {
    plan: { ...PLAN, ...plan },
    prompts: ['one', 'two', 'three'],
    ask: async (prompt, signal) => {
      asked.push({ at: clock.now() - started, prompt });
      await sleep(clock, 100, signal);
      return answer({ piecesMs: [40, 60, 80], endMs: 100 });
    },
    clock,
    signal: new AbortController().signal,
    labels: { device: 'd', network: 'n' },
    ...over,
  };
  const run = runLoad(options);
  run.catch(() => {});
  await clock.advance(0); // the first requests are on their way
  return { asked, run };
}

describe('latenciesOf', () => {
  it('takes TTFT, TPOT, ITL and the end from the pieces with text and the counted tokens', () => {
    expect(latenciesOf(answer())).toEqual({ ttft: 100, tpot: 30, itl: [20, 40], e2e: 170 });
  });
  it('divides by counted tokens, not by pieces', () => {
    const usage = { promptTokens: 5, completionTokens: 7, cachedTokens: null };
    expect(latenciesOf(answer({ usage })).tpot).toBe(10);
  });
  it('has no TPOT without a count or a second token, and no TTFT without text', () => {
    expect(latenciesOf(answer({ usage: null })).tpot).toBeNull();
    expect(latenciesOf(answer({ piecesMs: [], text: '' }))).toEqual({ ttft: null, tpot: null, itl: [], e2e: 170 });
  });
});

describe('isGood', () => {
  const times = latenciesOf(answer());
  it.each([
    [{}, true],
    [{ ttft: 100, tpot: 30, e2e: 170 }, true],
    [{ ttft: 99 }, false],
    [{ tpot: 29 }, false],
    [{ e2e: 169 }, false],
  ])('%j: %s', (limits, good) => {
    expect(isGood(times, limits)).toBe(good);
  });
  it('counts an answer without text by its end, and one token as no TPOT', () => {
    expect(isGood(latenciesOf(answer({ piecesMs: [] })), { ttft: 169 })).toBe(false);
    const usage = { promptTokens: 5, completionTokens: 1, cachedTokens: null };
    expect(isGood(latenciesOf(answer({ piecesMs: [100], usage })), { tpot: 0 })).toBe(true);
  });
});

describe('summariseLoad', () => {
  it('splits by source, counts tokens from usage and failures apart', () => {
    const cell = summariseLoad(
      [
        { answer: answer({ source: 'on_device' }) },
        { answer: answer({ source: 'in_cloud', piecesMs: [300, 340], endMs: 350 }) },
        { failure: 'server-failed:429' },
        { failure: 'server-timeout' },
        { failure: 'server-failed:429' },
      ],
      2,
      { ttft: 200 },
    );
    expect(cell).toMatchObject({
      completed: 2,
      failed: 3,
      failures: { 'server-failed:429': 2, 'server-timeout': 1 },
      seconds: 2,
      requestThroughput: 1,
      outputThroughput: 3,
      goodput: 0.5,
      goodputLimits: { ttft: 200 },
      serverShare: 0.5,
      promptTokens: 10,
      completionTokens: 6,
    });
    expect(cell.ttft).toMatchObject({ all: { mean: 200, p50: 200 }, on_device: { p99: 100 }, in_cloud: { p50: 300 } });
    expect(cell.tpot).toMatchObject({ all: { mean: 25 }, on_device: { p50: 30 }, in_cloud: { p50: 20 } });
    expect(cell.itl.all).toMatchObject({ mean: (20 + 40 + 40) / 3, p50: 40 });
    expect(cell.e2e.in_cloud).toMatchObject({ p50: 350 });
  });
  it('reports a server that does not count with null tokens, and judges no TPOT limit', () => {
    const results = [{ answer: answer() }, { answer: answer({ usage: null }) }];
    expect(summariseLoad(results, 1, { e2e: 500 })).toMatchObject({
      promptTokens: null,
      completionTokens: null,
      outputThroughput: null,
      goodput: 2,
    });
    expect(summariseLoad(results, 1, { tpot: 50 }).goodput).toBeNull();
    expect(summariseLoad(results, 1, {}).goodput).toBeNull();
  });
  it('has no percentiles where nothing was answered', () => {
    const cell = summariseLoad([{ failure: 'server-unreachable' }], 0, {});
    expect(cell).toMatchObject({ completed: 0, requestThroughput: 0, ttft: {}, serverShare: 0, promptTokens: null });
  });
});

describe('runLoad, closed', () => {
  it('keeps each client at one request at a time, to the wanted number', async () => {
    const clock = manualClock();
    const { asked, run } = await underLoad(clock, { pattern: { kind: 'closed', clients: 2 }, requests: 5 });
    await clock.advance(1000);
    const cell = await run;
    expect(asked.map(({ at }) => at)).toEqual([0, 0, 100, 100, 200]);
    expect(cell).toMatchObject({
      key: 'd--n--closed-2',
      device: 'd',
      network: 'n',
      pattern: 'closed, 2 clients',
      completed: 5,
    });
  });
  it('starts nothing after the duration, and waits for what was started', async () => {
    const clock = manualClock();
    const { asked, run } = await underLoad(clock, { seconds: 0.25 });
    for (let i = 0; i < 5; i++) await clock.advance(100);
    expect((await run).completed).toBe(3);
    expect(asked.map(({ at }) => at)).toEqual([0, 100, 200]);
  });
  it('sends every prompt before any a second time, in an order of the seed', async () => {
    const order = async (seed: number) => {
      const clock = manualClock();
      const { asked, run } = await underLoad(clock, { seed, requests: 6 });
      for (let i = 0; i < 6; i++) await clock.advance(100);
      await run;
      return asked.map(({ prompt }) => prompt);
    };
    const first = await order(1);
    expect(new Set(first.slice(0, 3))).toEqual(new Set(['one', 'two', 'three']));
    expect(new Set(first.slice(3))).toEqual(new Set(['one', 'two', 'three']));
    expect(await order(1)).toEqual(first);
    const others = await Promise.all([2, 3, 4, 5].map(order));
    expect(others.some((other) => other.join() !== first.join())).toBe(true);
  });
  it('does not count the warm-up', async () => {
    const clock = manualClock();
    const { asked, run } = await underLoad(clock, { warmup: 2, requests: 1 });
    for (let i = 0; i < 4; i++) await clock.advance(100);
    const cell = await run;
    expect(asked.length).toBe(3);
    expect(cell).toMatchObject({ completed: 1, seconds: 0.1, requestThroughput: 10 });
  });
});

describe('runLoad, open', () => {
  it('sends at the drawn times, whether or not the server keeps up', async () => {
    const clock = manualClock();
    const { asked, run } = await underLoad(clock, { pattern: { kind: 'open', rate: 50, burstiness: 1 }, requests: 20 });
    await clock.advance(10_000);
    expect((await run).completed).toBe(20);
    const random = createRandom(1, 'load-arrivals');
    let at = 0;
    const drawn = Array.from({ length: 20 }, () => {
      const now = at;
      at += 1000 * nextGap(random, 50, 1);
      return now;
    });
    for (const [i, { at }] of asked.entries()) expect(at).toBeCloseTo(drawn[i]!, 2);
    expect(asked.some(({ at }, i) => i > 0 && at - asked[i - 1]!.at < 100)).toBe(true);
  });
  it('ends its arrivals with the duration', async () => {
    const clock = manualClock();
    const { asked, run } = await underLoad(clock, {
      pattern: { kind: 'open', rate: 10, burstiness: 1 },
      seconds: 2,
    });
    await clock.advance(10_000);
    const cell = await run;
    expect(asked.every(({ at }) => at < 2000)).toBe(true);
    expect(cell.completed).toBe(asked.length);
    expect(cell.pattern).toBe('open, 10 requests/s');
  });
  it('sends all at once for an infinite rate', async () => {
    const clock = manualClock();
    const pattern = { kind: 'open', rate: Number.POSITIVE_INFINITY, burstiness: 1 } as const;
    const { asked, run } = await underLoad(clock, { pattern, requests: 7 });
    await clock.advance(100);
    await run;
    expect(asked.map(({ at }) => at)).toEqual(Array(7).fill(0));
  });
});

describe('runLoad, failures', () => {
  it('counts them by code and status, and goes on', async () => {
    const failures = [
      serverError('server-failed', 'x', { status: 429 }),
      new CrayonError('server-timeout', 'y'),
      serverError('server-failed', 'x', { status: 429 }),
    ];
    let n = 0;
    const ask = async () => {
      const failure = failures[n++];
      if (failure !== undefined) throw failure;
      return answer();
    };
    const { run } = await underLoad(manualClock(), { requests: 4 }, { ask });
    const cell = await run;
    expect(cell).toMatchObject({ completed: 1, failed: 3, failures: { 'server-failed:429': 2, 'server-timeout': 1 } });
  });
  it('gives up when no warm-up succeeds, but not when one fails', async () => {
    const broken = async () => {
      throw new CrayonError('server-unreachable', 'nobody');
    };
    const { run } = await underLoad(manualClock(), { warmup: 2, requests: 1 }, { ask: broken });
    await expect(run).rejects.toMatchObject({
      code: 'server-unreachable',
    });
    let n = 0;
    const once = async () => (n++ === 0 ? broken() : answer());
    const other = await underLoad(manualClock(), { warmup: 2, requests: 1 }, { ask: once });
    expect((await other.run).completed).toBe(1);
  });
  it('does not hide a defect among the failures', async () => {
    const ask = async () => {
      throw new TypeError('a defect');
    };
    const pattern = { kind: 'open', rate: Number.POSITIVE_INFINITY, burstiness: 1 } as const;
    const { run } = await underLoad(manualClock(), { pattern, requests: 3 }, { ask });
    await expect(run).rejects.toThrow(TypeError);
  });
  it('stops at the signal', async () => {
    const clock = manualClock();
    const stop = new AbortController();
    const { asked, run } = await underLoad(
      clock,
      { pattern: { kind: 'open', rate: 10, burstiness: 1 }, requests: 100 },
      { signal: stop.signal },
    );
    await clock.advance(500);
    stop.abort();
    await expect(run).rejects.toMatchObject({ code: 'interrupted' });
    expect(asked.length).toBeLessThan(20);
  });
});

describe('nextGap', () => {
  const draws = (burstiness: number) => {
    const random = createRandom(7, 'test');
    return Array.from({ length: 20_000 }, () => nextGap(random, 4, burstiness));
  };
  it.each([0.3, 1, 5])('burstiness %d: mean 1 / rate, coefficient of variation 1 / sqrt(burstiness)', (burstiness) => {
    const gaps = draws(burstiness);
    const mean = gaps.reduce((a, b) => a + b, 0) / gaps.length;
    const deviation = Math.sqrt(gaps.reduce((sum, gap) => sum + (gap - mean) ** 2, 0) / gaps.length);
    expect(mean).toBeGreaterThan(0.25 * 0.96);
    expect(mean).toBeLessThan(0.25 * 1.04);
    expect(deviation / mean / (1 / Math.sqrt(burstiness))).toBeGreaterThan(0.96);
    expect(deviation / mean / (1 / Math.sqrt(burstiness))).toBeLessThan(1.04);
    expect(gaps.every((gap) => gap >= 0)).toBe(true);
  });
});

describe('patternName', () => {
  it.each([
    [{ kind: 'closed', clients: 1 } as const, 'closed, 1 client'],
    [{ kind: 'open', rate: 4, burstiness: 1 } as const, 'open, 4 requests/s'],
    [{ kind: 'open', rate: Number.POSITIVE_INFINITY, burstiness: 1 } as const, 'open, all at once'],
    [{ kind: 'open', rate: 4, burstiness: 0.5 } as const, 'open, 4 requests/s, burstiness 0.5'],
  ])('%j', (pattern, name) => {
    expect(patternName(pattern)).toBe(name);
  });
});
