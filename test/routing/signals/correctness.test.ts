/** The combined signal: its formula, and what the router makes of it. */

import { describe, expect, it, vi } from 'vitest';
import type { Knots } from '../../../src/core/isotonic.js';
import { Query } from '../../../src/engine/types.js';
import { dryRun, explain } from '../../../src/routing/dry-run.js';
import { type CorrectnessWeights, correctness, correctnessOf } from '../../../src/routing/signals/correctness.js';
import { CONFIDENCE_MEASURES } from '../../../src/routing/signals/signal.js';
import type { Decision } from '../../../src/routing/types.js';
import { aRequest, type RouterSetup, reached, readAll, setUpRouter } from '../../helpers/routing.js';
import { createScriptedEngine } from '../../helpers/scripted.js';

const sigmoid = (z: number) => 1 / (1 + Math.exp(-z));
const signals = { scope: 40, complexity: 3, confidence: -0.5 };

describe('correctnessOf', () => {
  it('is the sigmoid of the intercept and the weighed features', () => {
    const all: CorrectnessWeights = {
      intercept: -1,
      confidence: 0.1,
      probability: 2,
      scope: 1.5,
      logScope: 0.5,
      complexity: -0.25,
    };
    const z = -1 + 0.1 * -0.5 + 2 * Math.exp(-0.5) + 1.5 * 0.4 + 0.5 * Math.log(41) - 0.25 * 3;
    expect(correctnessOf(all, 'mean-logprob', signals)).toBeCloseTo(sigmoid(z), 14);
    expect(correctnessOf({ intercept: 0 }, 'mean-logprob', signals)).toBe(0.5);
  });

  it('takes the probability from each measure as it is: logarithms are raised, probabilities kept', () => {
    const weights = { intercept: 0, probability: 1 };
    const found = CONFIDENCE_MEASURES.map((measure) =>
      correctnessOf(weights, measure, { ...signals, confidence: 0.3 }),
    );
    const [raised, kept] = [sigmoid(Math.exp(0.3)), sigmoid(0.3)];
    expect(found).toEqual([raised, kept, kept, raised].map((x) => expect.closeTo(x, 14)));
  });

  it('is a number for the ends: far below 0, far above less than 1, and 0 for an answer without a token', () => {
    const at = (confidence: number, weight: number) =>
      correctnessOf({ intercept: 0, confidence: weight }, 'mean-logprob', { ...signals, confidence });
    expect(at(-1e6, 1)).toBe(0);
    expect(at(-1e6, -1)).toBeLessThan(1); // so that a cut of 1 sends everything
    expect(at(Number.NEGATIVE_INFINITY, -1)).toBe(0);
    expect(correctnessOf({ intercept: 9 }, 'margin', { ...signals, confidence: Number.NEGATIVE_INFINITY })).toBe(0);
  });

  it('is shifted after the map, and says so', () => {
    const weights = { intercept: 0, confidence: 1 };
    const map: Knots = [
      [0, 0.1],
      [1, 0.9],
    ];
    const logit = (p: number) => Math.log(p / (1 - p));
    const plain = correctnessOf(weights, 'mean-logprob', signals, map);
    expect(logit(correctnessOf(weights, 'mean-logprob', signals, map, -2))).toBeCloseTo(logit(plain) - 2, 12);
    const config = { confidence: { measure: 'mean-logprob', tokens: 1 }, correctness: weights } as const;
    expect(correctness.unit({ ...config, correctnessShift: -2 })).toMatch(/, shifted by -2$/);
    expect(correctness.unit({ ...config, correctnessShift: 0 })).toBe('probability of a right answer');
  });

  it('is no number where a signal that counts is none, and does not look at the others', () => {
    const none = { ...signals, scope: Number.NaN };
    expect(correctnessOf({ intercept: 0, logScope: 1 }, 'mean-logprob', none)).toBeNaN();
    expect(correctnessOf({ intercept: 0, scope: 0, confidence: 1 }, 'mean-logprob', none)).toBeCloseTo(
      sigmoid(-0.5),
      14,
    );
    const madeOf = (weights: CorrectnessWeights) =>
      correctness.madeOf({ confidence: { measure: 'mean-logprob', tokens: 1 }, correctness: weights });
    expect(madeOf({ intercept: 0, logScope: 1 })).toEqual(['confidence', 'scope']);
    expect(madeOf({ intercept: 0, scope: 0, probability: 1 })).toEqual(['confidence']);
  });
});

/** P(right) = sigmoid(probability + scope / 100 - 1): of the scripted device's 0.5, above 0.5 from the 50th percentile. */
const weights: CorrectnessWeights = { intercept: -1, probability: 1, scope: 1 };
const setUp = (percentile: number, setup: RouterSetup = {}) =>
  setUpRouter({
    correctness: weights,
    scope: () => ({ percentile, similarity: 0.5 }),
    ...setup,
    thresholds: { correctness: 0.5, ...setup.thresholds },
  });

describe('the router', () => {
  it.each([
    [50.001, 'on_device', 'accepted'],
    [49.999, 'in_cloud', 'correctness'],
  ] as const)('compares it with the cut: percentile %d', async (percentile, source, reason) => {
    const { router, device } = setUp(percentile);
    const { decision } = await readAll(router);
    const probability = sigmoid(percentile / 100 - 0.5);
    expect(decision).toEqual({
      source,
      reason,
      score: expect.closeTo(probability, 12),
      threshold: 0.5,
      fallbackFrom: null,
      signals: {
        promptTokens: 4,
        maxTokens: 16,
        scope: percentile,
        similarity: 0.5,
        confidence: Math.log(0.5),
        correctness: expect.closeTo(probability, 12),
      },
    });
    expect(device.nllRequests).toEqual([]); // it has no weight
  });

  it('a cut of 0 sends nothing, a cut of 1 everything', async () => {
    const certain = { correctness: { intercept: 1000, probability: 1 } };
    expect((await readAll(setUp(50, { ...certain, thresholds: { correctness: 1 } }).router)).decision).toMatchObject({
      reason: 'correctness',
    });
    const hopeless = { correctness: { intercept: -1000, probability: 1 } };
    expect((await readAll(setUp(50, { ...hopeless, thresholds: { correctness: 0 } }).router)).decision).toMatchObject({
      source: 'on_device',
      reason: 'accepted',
      score: 0,
    });
  });

  it.each([
    [{ scope: 60 }, 'scope', []],
    [{ complexity: 0.5 }, 'complexity', []],
    [{ confidence: -0.1 }, 'confidence', ['confidence']],
    [{ scope: 5, complexity: 3, confidence: -1 }, 'accepted', ['confidence', 'correctness']],
  ] as const)('lets the cuts of the others speak first: %o', async (thresholds, reason, computed) => {
    const { router, device } = setUp(55, { thresholds });
    const { decision } = await readAll(router);
    expect(decision).toMatchObject({ reason });
    expect(['confidence', 'correctness'].filter((name) => name in decision!.signals)).toEqual(computed);
    // What scope and complexity send away costs no token of the device.
    expect(device.requests).toHaveLength(computed.length === 0 ? 0 : 1);
  });

  it('has only computed what has a weight', async () => {
    const scope = vi.fn(() => ({ percentile: 99, similarity: 1 }));
    const { router, device } = setUp(0, { scope, correctness: { intercept: 0, probability: 1, complexity: -2 } });
    const { decision } = await readAll(router);
    expect(scope).not.toHaveBeenCalled();
    expect(device.nllRequests).toHaveLength(1);
    expect(decision).toMatchObject({ reason: 'correctness', score: expect.closeTo(sigmoid(0.5 - 2), 12) });
    expect(decision!.signals).not.toHaveProperty('scope');
  });

  it('leaves it off where it is off, without a profile that it needs, without a server and in other modes', async () => {
    const off: RouterSetup[] = [
      { thresholds: { correctness: null } },
      { scope: () => null },
      { scope: null },
      { server: null },
      { mode: 'only_on_device' },
    ];
    for (const setup of off) {
      const { router } = setUp(0, setup);
      const { decision } = await readAll(router);
      expect(decision).toMatchObject({ source: 'on_device', score: null });
      expect(decision!.signals).not.toHaveProperty('confidence');
      expect(decision!.signals).not.toHaveProperty('correctness');
    }
    // With a cut of its own, the confidence is still asked.
    const { router } = setUp(0, { scope: null, thresholds: { confidence: -0.1 } });
    expect((await readAll(router)).decision).toMatchObject({ reason: 'confidence' });
    const only = setUp(0, { mode: 'only_on_device' });
    await readAll(only.router);
    expect(reached(only.server)).toEqual([]);
  });

  it('a threshold without weights is a defect of the program', async () => {
    const { router } = setUpRouter({ thresholds: { correctness: 0.5 } });
    expect((await readAll(router)).error).toMatchObject({ message: expect.stringContaining('has no weights') });
  });
});

describe('held-back tokens', () => {
  /** Lets the test see what has gone out before each token of the device. */
  async function run(percentile: number, tokens: number | null) {
    const seen: string[] = [];
    const before: number[] = [];
    const { router, device, server } = setUp(percentile, {
      confidence: { tokens },
      device: {
        answers: [
          {
            tokens: Array.from({ length: 5 }, (_, i) => ({ text: ` w${i}`, logprob: Math.log(0.5) })),
            beforeToken: async () => void before.push(seen.length),
          },
        ],
      },
    });
    for await (const event of router.route(aRequest())) seen.push(event.type);
    return { seen, before, device, server };
  }

  it('go out with the decision after exactly the first m', async () => {
    const { seen, before } = await run(80, 3);
    expect(before.slice(0, 3)).toEqual([0, 0, 0]);
    expect(before[3]).toBe(5); // decision, start and three tokens
    expect(seen).toEqual(['decision', 'start', 'token', 'token', 'token', 'token', 'token', 'end']);
  });

  it('go out at the end where the whole answer is looked at', async () => {
    const { before } = await run(80, null);
    expect(before).toEqual([0, 0, 0, 0, 0]);
  });

  it('are dropped where the server is preferred, and the device stops at once', async () => {
    const { seen, device, server } = await run(20, 3);
    expect(device.requests[0]).toMatchObject({ outcome: 'returned', tokensSent: 3 });
    expect(server!.requests).toHaveLength(1);
    expect(seen).toEqual(['decision', 'start', 'token', 'token', 'token', 'end']);
  });

  it('are the answer after all where they are a whole one and the server fails', async () => {
    const { router } = setUp(20, {
      confidence: { tokens: null },
      server: { answers: [{ tokens: 'x', fail: { at: 0, error: 'server-failed' } }] },
    });
    const { decision, text } = await readAll(router);
    expect(decision).toMatchObject({ source: 'on_device', reason: 'server-failed', signals: { scope: 20 } });
    expect(text).toBe('from the edge');
  });
});

describe('a signal that it is made of and that is not a number', () => {
  const cases: Record<string, RouterSetup> = {
    scope: { scope: () => ({ percentile: Number.NaN, similarity: Number.NaN }) },
    complexity: { correctness: { intercept: 0, complexity: 1 }, device: { promptNll: Number.NaN } },
    confidence: { device: { answers: [{ tokens: [{ text: 'x', logprob: null }] }] } },
    correctness: {
      correctness: { intercept: 0, complexity: 1, confidence: 1e308 },
      device: { promptNll: Number.POSITIVE_INFINITY, answers: [{ tokens: [{ text: 'x', logprob: -1e9 }] }] },
    },
  };

  it.each(Object.keys(cases))('%s: is named as a failure of the device', async (signal) => {
    const { decision } = await readAll(setUp(50, cases[signal]).router);
    expect(decision).toMatchObject({
      source: 'in_cloud',
      reason: 'device-failed',
      score: null,
      threshold: null,
      failure: { code: 'model-invalid', message: `the device's ${signal} score is not a number` },
    });
  });

  it('an answer without a token is not trusted, whatever the weights', async () => {
    const { router } = setUp(99, {
      thresholds: { correctness: 0.01 },
      correctness: { intercept: 5, confidence: -1 },
      device: { answers: [{ tokens: [] }] },
    });
    expect((await readAll(router)).decision).toMatchObject({ reason: 'correctness', score: 0, threshold: 0.01 });
  });
});

describe('explain', () => {
  const decision: Decision = {
    source: 'in_cloud',
    reason: 'correctness',
    score: 0.41,
    threshold: 0.6,
    fallbackFrom: null,
    signals: { promptTokens: 4, maxTokens: 8, scope: 3, similarity: 0.1, confidence: -0.9, correctness: 0.41 },
  };

  it('says what the probability is and what it was made of', () => {
    expect(explain(decision)).toBe(
      "The server answers: the device's answer is right with probability 0.41, below the cut 0.6 " +
        '(confidence -0.9, scope percentile 3).',
    );
    expect(
      explain({
        ...decision,
        source: 'on_device',
        reason: 'accepted',
        score: 0.72345,
        signals: { promptTokens: 4, maxTokens: 8, confidence: -0.1, complexity: 2.5, correctness: 0.72345 },
      }),
    ).toBe(
      "The device answers: the device's answer is right with probability 0.7235, at least the cut 0.6 " +
        '(confidence -0.1, complexity 2.5).',
    );
  });

  it('says of nothing that it is certain', () => {
    for (const [score, said] of [
      [0, 'under 0.001'],
      [0.001, '0.001'],
      [0.999, '0.999'],
      [0.99999, 'over 0.999'],
    ] as const) {
      expect(explain({ ...decision, score })).toContain(`right with probability ${said}, below the cut`);
    }
  });
});

describe('dryRun', () => {
  it('shows the probability wherever there are weights, and decides as the router would', async () => {
    const device = createScriptedEngine({ answers: 'a b c', promptNll: 2.5 });
    const run = (
      cut: number | null,
      scope: (() => { percentile: number; similarity: number }) | null,
      correctnessMap: Knots | null = null,
    ) =>
      dryRun(
        {
          device,
          hasServer: true,
          scope,
          adapters: [],
          config: {
            mode: 'prefer_on_device',
            load: true,
            confidence: { measure: 'mean-logprob', tokens: 2 },
            thresholds: { scope: null, complexity: null, confidence: null, correctness: cut },
            correctness: weights,
            correctnessMap,
          },
        },
        { query: new Query({ kind: 'text', text: 'one two' }), maxTokens: 4 },
        new AbortController().signal,
      );
    const far = () => ({ percentile: 20, similarity: 0.1 });
    const values = { correctness: expect.closeTo(sigmoid(-0.3), 12) };
    expect(await run(0.5, far)).toMatchObject({
      values,
      decision: { source: 'in_cloud', reason: 'correctness' },
    });
    expect(await run(0.4, far)).toMatchObject({
      values,
      decision: { source: 'on_device', reason: 'accepted' },
    });
    expect(await run(null, far)).toMatchObject({
      values,
      decision: { reason: 'accepted', score: null },
    });
    // Read off a map, the probability is another one, and so is what the same cut does.
    const p = sigmoid(-0.3);
    const map = [
      [0, 0.1],
      [p, 0.3],
      [1, 0.9],
    ] as const;
    expect(await run(0.4, far, map)).toMatchObject({
      values: { correctness: expect.closeTo(0.3, 12) },
      decision: { source: 'in_cloud', reason: 'correctness' },
    });
    expect(await run(0.5, null)).toMatchObject({
      values: { correctness: null },
      decision: { reason: 'accepted', score: null },
    });
  });
});
