/** The router over two scripted engines: every mode with every signal and every failure. */

import { describe, expect, it } from 'vitest';
import { CrayonError, type ErrorCode } from '../../src/core/errors.js';
import { explain } from '../../src/routing/dry-run.js';
import type { ScopeScore } from '../../src/routing/signals/scope.js';
import { MODES, type Mode, type Reason, type Source } from '../../src/routing/types.js';
import { aRequest, type RouterSetup, reached, readAll, setUpRouter } from '../helpers/routing.js';

/** Signal by signal, what makes it speak for the server. */
const SIGNALS: Record<string, RouterSetup> = {
  none: {},
  'all within their cuts': {
    thresholds: { scope: 5, complexity: 3, confidence: -1 },
    scope: () => ({ percentile: 40, similarity: 0.9 }),
  },
  context: { device: { contextTokens: 10 } },
  load: { device: { capacity: 0, queue: 0 } },
  scope: { thresholds: { scope: 5 }, scope: () => ({ percentile: 1, similarity: 0.1 }) },
  complexity: { thresholds: { complexity: 0.5 } },
  confidence: { thresholds: { confidence: -0.1 } },
};

const DEVICE = 'from the edge';
const SERVER = 'from the server';

type Answer = [Source, Reason] | ErrorCode;

/** What each mode makes of each signal while both sources work. */
const WORKING: Record<Mode, Record<string, Answer>> = {
  prefer_on_device: {
    none: ['on_device', 'accepted'],
    'all within their cuts': ['on_device', 'accepted'],
    context: ['in_cloud', 'context'],
    load: ['in_cloud', 'load'],
    scope: ['in_cloud', 'scope'],
    complexity: ['in_cloud', 'complexity'],
    confidence: ['in_cloud', 'confidence'],
  },
  only_on_device: {
    none: ['on_device', 'mode'],
    'all within their cuts': ['on_device', 'mode'],
    context: 'context-exceeded',
    load: 'engine-busy',
    scope: ['on_device', 'mode'],
    complexity: ['on_device', 'mode'],
    confidence: ['on_device', 'mode'],
  },
  prefer_in_cloud: Object.fromEntries(Object.keys(SIGNALS).map((signal) => [signal, ['in_cloud', 'mode']])),
  only_in_cloud: Object.fromEntries(Object.keys(SIGNALS).map((signal) => [signal, ['in_cloud', 'mode']])),
};

/** The same while the server fails with `server-failed` at the first word. */
const SERVER_DOWN: Record<Mode, Record<string, Answer>> = {
  prefer_on_device: {
    none: ['on_device', 'accepted'],
    'all within their cuts': ['on_device', 'accepted'],
    context: 'server-failed',
    load: 'server-failed', // and the device is still busy
    scope: ['on_device', 'server-failed'],
    complexity: ['on_device', 'server-failed'],
    confidence: ['on_device', 'server-failed'],
  },
  only_on_device: WORKING.only_on_device,
  prefer_in_cloud: {
    none: ['on_device', 'server-failed'],
    'all within their cuts': ['on_device', 'server-failed'],
    context: 'server-failed',
    load: 'server-failed',
    scope: ['on_device', 'server-failed'],
    complexity: ['on_device', 'server-failed'],
    confidence: ['on_device', 'server-failed'],
  },
  only_in_cloud: Object.fromEntries(Object.keys(SIGNALS).map((signal) => [signal, 'server-failed' as const])),
};

/** The same while the device fails with `out-of-memory` when it is asked to generate. */
const DEVICE_DOWN: Record<Mode, Record<string, Answer>> = {
  prefer_on_device: {
    none: ['in_cloud', 'device-failed'],
    'all within their cuts': ['in_cloud', 'device-failed'],
    context: ['in_cloud', 'context'],
    load: ['in_cloud', 'load'],
    scope: ['in_cloud', 'scope'],
    complexity: ['in_cloud', 'complexity'],
    confidence: ['in_cloud', 'device-failed'],
  },
  only_on_device: {
    none: 'out-of-memory',
    'all within their cuts': 'out-of-memory',
    context: 'context-exceeded',
    load: 'engine-busy',
    scope: 'out-of-memory',
    complexity: 'out-of-memory',
    confidence: 'out-of-memory',
  },
  prefer_in_cloud: WORKING.prefer_in_cloud,
  only_in_cloud: WORKING.only_in_cloud,
};

/** Both: the error is that of the source that was wanted first. */
const BOTH_DOWN: Record<Mode, Record<string, Answer>> = {
  prefer_on_device: {
    none: 'out-of-memory',
    'all within their cuts': 'out-of-memory',
    context: 'server-failed',
    load: 'server-failed',
    scope: 'server-failed',
    complexity: 'server-failed',
    confidence: 'out-of-memory',
  },
  only_on_device: DEVICE_DOWN.only_on_device,
  prefer_in_cloud: Object.fromEntries(Object.keys(SIGNALS).map((signal) => [signal, 'server-failed' as const])),
  only_in_cloud: SERVER_DOWN.only_in_cloud,
};

const edgeFails = { answers: [{ tokens: DEVICE, fail: { at: 'open' as const, error: 'out-of-memory' as const } }] };
const serverFails = { answers: [{ tokens: SERVER, fail: { at: 0, error: 'server-failed' as const } }] };

const WORLDS: Array<[string, typeof WORKING, RouterSetup]> = [
  ['both work', WORKING, {}],
  ['the server fails', SERVER_DOWN, { server: serverFails }],
  ['the device fails', DEVICE_DOWN, { device: edgeFails }],
  ['both fail', BOTH_DOWN, { device: edgeFails, server: serverFails }],
];

const TABLE = WORLDS.flatMap(([world, expected, setup]) =>
  MODES.flatMap((mode) =>
    Object.keys(SIGNALS).map((signal) => ({ world, mode, signal, setup, expected: expected[mode][signal]! })),
  ),
);

describe('every mode, signal and failure', () => {
  it.each(TABLE)('$world, $mode, signal $signal', async ({ mode, signal, setup, expected }) => {
    const wanted = SIGNALS[signal]!;
    const { device, server, router } = setUpRouter({
      ...wanted,
      ...setup,
      device: { ...wanted.device, ...setup.device },
      mode,
    });
    const { decision, text, error, events } = await readAll(router);

    if (typeof expected === 'string') {
      expect(error).toBeInstanceOf(CrayonError);
      expect((error as CrayonError).code).toBe(expected);
      expect(events).toEqual([]); // nothing was said before the error
    } else {
      const [source, reason] = expected;
      expect(error).toBe(null);
      expect(decision).toMatchObject({ source, reason });
      expect(text).toBe(source === 'on_device' ? DEVICE : SERVER);
      expect(events.filter((event) => event.type === 'decision')).toHaveLength(1);
      expect(events.map((event) => event.type)).toEqual(['decision', 'start', 'token', 'token', 'token', 'end']);
      expect(explain(decision!)).toMatch(/^The (device|server) answers: .+\.$/);
    }

    // No leak: the other side has not even been asked to tokenise.
    if (mode === 'only_on_device') expect(reached(server)).toEqual([]);
    if (mode === 'only_in_cloud') expect(reached(device)).toEqual([]);
    // Whatever happened, nobody is still at work.
    for (const engine of [device, server!]) {
      expect(engine.load()).toMatchObject({ running: 0, waiting: 0 });
    }
  });
});

describe('without a server', () => {
  it.each(Object.keys(SIGNALS))('prefer_on_device answers on the device, signal %s', async (signal) => {
    const { router, device } = setUpRouter({ ...SIGNALS[signal], server: null });
    const { decision, error } = await readAll(router);
    if (signal === 'context') expect(error).toMatchObject({ code: 'context-exceeded' });
    else if (signal === 'load') expect(error).toMatchObject({ code: 'engine-busy' });
    else expect(decision).toMatchObject({ source: 'on_device', reason: 'mode', signals: { promptTokens: 4 } });
    expect(device.nllRequests).toEqual([]); // no signal could change anything
  });

  it('only_in_cloud is an error that names it, prefer_in_cloud says that the device stands in', async () => {
    const only = setUpRouter({ server: null, mode: 'only_in_cloud' });
    expect((await readAll(only.router)).error).toMatchObject({ code: 'server-unreachable' });
    expect(reached(only.device)).toEqual([]);

    const { router } = setUpRouter({ server: null, mode: 'prefer_in_cloud' });
    expect((await readAll(router)).decision).toMatchObject({
      source: 'on_device',
      reason: 'server-failed',
      fallbackFrom: 'in_cloud',
      failure: { code: 'server-unreachable' },
    });
  });
});

describe('the failures of the server', () => {
  const codes: Array<[ErrorCode, Reason]> = [
    ['server-unreachable', 'server-failed'],
    ['server-timeout', 'server-failed'],
    ['server-refused', 'server-failed'],
    ['server-failed', 'server-failed'],
    ['server-invalid', 'server-failed'],
    ['engine-busy', 'server-failed'],
    ['server-circuit-open', 'circuit-open'],
    ['server-budget', 'budget'],
  ];

  it.each(codes)('%s makes the device stand in, and says so', async (code, reason) => {
    for (const at of ['open', 0] as const) {
      const { router } = setUpRouter({
        mode: 'prefer_in_cloud',
        server: { answers: [{ tokens: SERVER, fail: { at, error: code } }] },
      });
      const { decision, text } = await readAll(router);
      expect(decision).toMatchObject({ source: 'on_device', reason, fallbackFrom: 'in_cloud', failure: { code } });
      expect(text).toBe(DEVICE);
    }
  });

  it('a request that is itself wrong is tried nowhere else', async () => {
    const { router, device } = setUpRouter({
      mode: 'prefer_in_cloud',
      server: { answers: [{ tokens: SERVER, fail: { at: 'open', error: 'request-invalid' } }] },
    });
    expect((await readAll(router)).error).toMatchObject({ code: 'request-invalid' });
    expect(reached(device)).toEqual([]);
  });

  it('in the middle of an answer ends it: no second decision, no word of the device', async () => {
    for (const mode of ['prefer_in_cloud', 'only_in_cloud'] as const) {
      const { router, device } = setUpRouter({
        mode,
        server: { answers: [{ tokens: SERVER, fail: { at: 1, error: 'server-failed' } }] },
      });
      const { events, text, error } = await readAll(router);
      expect(error).toMatchObject({ code: 'server-failed' });
      expect(text).toBe('from');
      expect(events.map((event) => event.type)).toEqual(['decision', 'start', 'token']);
      expect(reached(device)).toEqual([]);
    }
  });

  it('keeps the cause of the first error when both have failed: its status tells the client what to do', async () => {
    const cause = { status: 429, retryAfterMs: 2000 };
    const error = new CrayonError('server-failed', 'HTTP 429', { hint: 'Wait.', cause });
    const { router } = setUpRouter({
      mode: 'prefer_in_cloud',
      device: edgeFails,
      server: { answers: [{ tokens: '', fail: { at: 'open', error } }] },
    });
    const thrown = (await readAll(router)).error as CrayonError;
    expect(thrown).toMatchObject({ code: 'server-failed', hint: 'Wait.', cause });
    expect(thrown.message).toContain('HTTP 429');
    expect(thrown.message).toContain('out-of-memory');
  });
});

describe('the failures of the device', () => {
  it('that are the rule`s own reasons keep their names', async () => {
    const failing = (error: ErrorCode) => ({
      device: { answers: [{ tokens: DEVICE, fail: { at: 'open' as const, error } }] },
    });
    const tooLong = await readAll(setUpRouter(failing('context-exceeded')).router);
    expect(tooLong.decision).toMatchObject({ source: 'in_cloud', reason: 'context', fallbackFrom: null });
    const busy = await readAll(setUpRouter(failing('engine-busy')).router);
    expect(busy.decision).toMatchObject({ source: 'in_cloud', reason: 'load', fallbackFrom: null });
    const mayNot = await readAll(setUpRouter({ ...failing('engine-busy'), load: false }).router);
    expect(mayNot.error).toMatchObject({ code: 'engine-busy' });
  });

  it('before it generates count too: complexity, scope score', async () => {
    const broken = new Error('the context is lost');
    const nll = setUpRouter({ thresholds: { complexity: 3 }, device: { promptNll: broken } });
    const scope = setUpRouter({
      thresholds: { scope: 5 },
      scope: () => {
        throw broken;
      },
    });
    for (const { router } of [nll, scope]) {
      const { decision, text } = await readAll(router);
      expect(decision).toMatchObject({
        source: 'in_cloud',
        reason: 'device-failed',
        fallbackFrom: 'on_device',
        failure: { code: 'internal', message: 'the context is lost' },
      });
      expect(text).toBe(SERVER);
    }
  });

  it('in the middle of a committed answer end it', async () => {
    const { router, server } = setUpRouter({
      thresholds: { confidence: -1 },
      device: { answers: [{ tokens: DEVICE, fail: { at: 2, error: 'out-of-memory' } }] },
    });
    const { text, error, decision } = await readAll(router);
    expect(decision).toMatchObject({ source: 'on_device', reason: 'accepted' });
    expect(error).toMatchObject({ code: 'out-of-memory' });
    expect(text).toBe('from the');
    expect(reached(server)).toEqual([]);
  });

  it('while its tokens are held back are mended, for nothing was sent', async () => {
    const { router } = setUpRouter({
      thresholds: { confidence: -1 },
      confidence: { tokens: 3 },
      device: { answers: [{ tokens: DEVICE, fail: { at: 2, error: 'out-of-memory' } }] },
    });
    const { text, decision } = await readAll(router);
    expect(decision).toMatchObject({ source: 'in_cloud', reason: 'device-failed', failure: { code: 'out-of-memory' } });
    expect(text).toBe(SERVER);
  });
});

describe('a signal that is not a number', () => {
  const score: ScopeScore = { percentile: Number.NaN, similarity: Number.NaN };
  const cases: Record<string, RouterSetup> = {
    scope: { thresholds: { scope: 5 }, scope: () => score },
    complexity: { thresholds: { complexity: 3 }, device: { promptNll: Number.NaN } },
    confidence: { thresholds: { confidence: -9 }, device: { answers: [{ tokens: [{ text: 'x', logprob: null }] }] } },
  };

  it.each(Object.keys(cases))('%s: is named as a failure of the device, compared with nothing', async (signal) => {
    const { decision } = await readAll(setUpRouter(cases[signal]!).router);
    expect(decision).toMatchObject({
      source: 'in_cloud',
      reason: 'device-failed',
      score: null,
      threshold: null,
      failure: { code: 'model-invalid', message: `the device's ${signal} score is not a number` },
    });
  });

  it.each(Object.keys(cases))('%s: is an error when the server fails too', async (signal) => {
    const { error } = await readAll(setUpRouter({ ...cases[signal]!, server: serverFails }).router);
    expect(error).toMatchObject({ code: 'model-invalid' });
  });

  it('a threshold without a number is a defect of the configuration', async () => {
    const { router } = setUpRouter({ thresholds: { scope: Number.NaN } });
    expect((await readAll(router)).error).toMatchObject({ message: expect.stringContaining('threshold of scope') });
  });
});

describe('cuts', () => {
  it.each([
    [{ scope: 10 }, 10, 1, 'accepted'],
    [{ scope: 10 }, 9.999, 1, 'scope'],
    [{ complexity: 2 }, 50, 2, 'accepted'],
    [{ complexity: 2 }, 50, 2.001, 'complexity'],
    [{ confidence: Math.log(0.5) }, 50, 1, 'accepted'],
    [{ confidence: Math.log(0.5) + 1e-9 }, 50, 1, 'confidence'],
  ] as const)('%o with percentile %d and complexity %d: %s', async (thresholds, percentile, promptNll, reason) => {
    const { router } = setUpRouter({
      thresholds,
      scope: () => ({ percentile, similarity: 0.5 }),
      device: { promptNll },
    });
    expect((await readAll(router)).decision).toMatchObject({ reason });
  });

  it('the context takes prompt and answer together, to the last token', async () => {
    const fits = setUpRouter({ device: { contextTokens: 20 } }); // BOS and three words, and 16 tokens to come
    expect((await readAll(fits.router)).decision).toMatchObject({ reason: 'accepted' });
    const over = setUpRouter({ device: { contextTokens: 19 } });
    expect((await readAll(over.router)).decision).toMatchObject({ reason: 'context', score: 20, threshold: 19 });
  });

  it('the decision carries the deciding score, its cut, and what else was computed', async () => {
    const { router } = setUpRouter({
      thresholds: { scope: 5, complexity: 3, confidence: -0.5 },
      scope: () => ({ percentile: 40, similarity: 0.9 }),
    });
    const { decision } = await readAll(router);
    expect(decision).toEqual({
      source: 'in_cloud',
      reason: 'confidence',
      score: Math.log(0.5),
      threshold: -0.5,
      signals: { promptTokens: 4, maxTokens: 16, scope: 40, similarity: 0.9, complexity: 1, confidence: Math.log(0.5) },
      fallbackFrom: null,
    });
    expect(explain(decision!)).toBe(
      "The server answers: the device's model is unsure of its answer (confidence -0.6931 is below the cut -0.5).",
    );
  });

  it('the request`s mode and scope stand before the configuration`s', async () => {
    const { router, server } = setUpRouter({
      mode: 'prefer_in_cloud',
      thresholds: { scope: 5 },
      scope: () => ({ percentile: 90, similarity: 1 }),
    });
    const only = await readAll(router, aRequest(), { mode: 'only_on_device' });
    expect(only.decision).toMatchObject({ source: 'on_device', reason: 'mode' });
    expect(reached(server)).toEqual([]);
    const other = await readAll(router, aRequest(), {
      mode: 'prefer_on_device',
      scope: () => ({ percentile: 1, similarity: 0 }),
    });
    expect(other.decision).toMatchObject({ source: 'in_cloud', reason: 'scope', score: 1 });
    const none = await readAll(router, aRequest(), { mode: 'prefer_on_device', scope: null });
    expect(none.decision).toMatchObject({ source: 'on_device', reason: 'accepted' });
  });
});

describe('a request that is not one', () => {
  it.each<[string, object, RegExp]>([
    ['the query of an older version', { query: undefined, prompt: { kind: 'text', text: 'a' } }, /query is missing/],
    ['a text for a query', { query: 'why?' }, /query is "why\?", expected a Query/],
    ['no signal', { signal: undefined }, /signal is missing, expected an AbortSignal/],
  ])('%s: it is said what to give', async (_, fields, message) => {
    for (const mode of MODES) {
      const { router } = setUpRouter({ mode });
      const { error } = await readAll(router, { ...aRequest(), ...fields } as never);
      expect(error).toMatchObject({ code: 'bad-option', message: expect.stringMatching(message) });
      expect((error as CrayonError).hint).toMatch(/^Give (query: new Query|signal: new AbortController)/);
    }
  });
});
