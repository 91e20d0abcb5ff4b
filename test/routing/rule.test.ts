/** The rule by itself: every mode, signal value and server, with the exact decision. */

import { describe, expect, it, vi } from 'vitest';
import { CrayonError } from '../../src/core/errors.js';
import { GO_ON, RoutingRule, type Situation } from '../../src/routing/rule.js';
import { SIGNALS, type SignalName, type Thresholds } from '../../src/routing/signals/index.js';
import { type Decision, MODES, type Mode, type RoutingConfig } from '../../src/routing/types.js';

/** What a query turns out to be; every field a number that stays within CUTS. */
const GOOD = { promptTokens: 10, percentile: 40, nll: 2, confidence: -0.5 };
const CUTS: Thresholds = { scope: 5, complexity: 3, confidence: -1, correctness: 0.2 };
/** P(right) = sigmoid(probability + scope / 100 - 1), of GOOD 0.5016. */
const WEIGHTS = { intercept: -1, probability: 1, scope: 1 };
const P_GOOD = 1 / (1 + Math.exp(-(-1 + Math.exp(-0.5) + 0.4)));

interface Setup {
  mode?: Mode;
  hasServer?: boolean;
  thresholds?: Thresholds;
  config?: Partial<RoutingConfig>;
  situation?: Partial<Situation>;
  query?: Partial<typeof GOOD>;
  profile?: boolean;
}

function ruleOf({ mode = 'prefer_on_device', hasServer = true, thresholds = {}, ...rest }: Setup = {}) {
  const query = { ...GOOD, ...rest.query };
  const config: RoutingConfig = {
    mode,
    thresholds,
    confidence: { measure: 'mean-logprob', tokens: 4 },
    correctness: WEIGHTS,
    load: true,
    ...rest.config,
  };
  const score = { percentile: query.percentile, similarity: 0.9 };
  const situation: Situation = {
    mode,
    promptTokens: () => query.promptTokens,
    maxTokens: 5,
    contextTokens: 20,
    hasServer,
    load: () => ({ running: 0, waiting: 0, capacity: 1, queue: 1 }),
    scope: () => (rest.profile === false ? null : score),
    ...rest.situation,
  };
  return { rule: new RoutingRule(config, situation), query };
}

/** Asks the rule as the router does. */
function decide(setup: Setup): Decision {
  const { rule, query } = ruleOf(setup);
  let step = rule.beforeWork();
  if (step === GO_ON && rule.needs('after-prompt')) step = rule.afterPrompt(query.nll);
  if (step !== GO_ON) return step;
  return rule.needs('after-tokens') ? rule.afterTokens(query.confidence) : rule.accept();
}

const brief = ({ source, reason, score, threshold }: Decision) => [source, reason, score, threshold];

/** One thing wrong at a time: what is wrong with the query, and what the signals make of it where they have a say. */
const QUERIES: Record<string, [Setup, unknown[]]> = {
  'nothing switched on': [{}, ['on_device', 'accepted', null, null]],
  'all within their cuts': [{ thresholds: CUTS }, ['on_device', 'accepted', expect.closeTo(P_GOOD, 12), 0.2]],
  'too long': [{ query: { promptTokens: 16 }, thresholds: CUTS }, ['in_cloud', 'context', 21, 20]],
  'just short enough': [{ query: { promptTokens: 15 } }, ['on_device', 'accepted', null, null]],
  'queue full': [
    { situation: { load: () => ({ running: 1, waiting: 1, capacity: 1, queue: 1 }) }, thresholds: CUTS },
    ['in_cloud', 'load', 1, 1],
  ],
  'busy, with room in the queue': [
    { situation: { load: () => ({ running: 1, waiting: 0, capacity: 1, queue: 1 }) } },
    ['on_device', 'accepted', null, null],
  ],
  'memory short': [
    { config: { minFreeBytes: 1000 }, situation: { freeBytes: () => 999 } },
    ['in_cloud', 'memory', 999, 1000],
  ],
  'memory unknown': [{ config: { minFreeBytes: 1000 } }, ['on_device', 'accepted', null, null]],
  'scope below': [{ thresholds: CUTS, query: { percentile: 4.9 } }, ['in_cloud', 'scope', 4.9, 5]],
  'scope at its cut': [{ thresholds: { scope: 5 }, query: { percentile: 5 } }, ['on_device', 'accepted', 5, 5]],
  'scope without a profile': [{ thresholds: { scope: 5 }, profile: false }, ['on_device', 'accepted', null, null]],
  'complexity above': [{ thresholds: CUTS, query: { nll: 3.1 } }, ['in_cloud', 'complexity', 3.1, 3]],
  'complexity at its cut': [{ thresholds: { complexity: 3 }, query: { nll: 3 } }, ['on_device', 'accepted', 3, 3]],
  'complexity infinite': [
    { thresholds: { complexity: 3 }, query: { nll: Number.POSITIVE_INFINITY } },
    ['in_cloud', 'complexity', Number.POSITIVE_INFINITY, 3],
  ],
  'confidence below': [{ thresholds: CUTS, query: { confidence: -1.1 } }, ['in_cloud', 'confidence', -1.1, -1]],
  'confidence at its cut': [
    { thresholds: { confidence: -1 }, query: { confidence: -1 } },
    ['on_device', 'accepted', -1, -1],
  ],
  'no token at all': [
    { thresholds: { correctness: 0.2 }, query: { confidence: Number.NEGATIVE_INFINITY } },
    ['in_cloud', 'correctness', 0, 0.2],
  ],
  'probably wrong': [
    { thresholds: { correctness: 0.6 } },
    ['in_cloud', 'correctness', expect.closeTo(P_GOOD, 12), 0.6],
  ],
  'probability without the profile that it needs': [
    { thresholds: { correctness: 0.6 }, profile: false },
    ['on_device', 'accepted', null, null],
  ],
  'confidence alone where the probability lacks a profile': [
    { thresholds: { confidence: -0.4, correctness: 0.6 }, profile: false },
    ['in_cloud', 'confidence', -0.5, -0.4],
  ],
  'the first of two': [
    { thresholds: CUTS, query: { percentile: 1, nll: 9, confidence: -9 } },
    ['in_cloud', 'scope', 1, 5],
  ],
  'scope not a number': [
    { thresholds: CUTS, query: { percentile: Number.NaN } },
    ['in_cloud', 'device-failed', null, null],
  ],
  'complexity not a number': [
    { thresholds: CUTS, query: { nll: Number.NaN } },
    ['in_cloud', 'device-failed', null, null],
  ],
  'confidence not a number': [
    { thresholds: CUTS, query: { confidence: Number.NaN } },
    ['in_cloud', 'device-failed', null, null],
  ],
};

describe('a mode, a query, a server', () => {
  const table = Object.keys(QUERIES).flatMap((query) =>
    MODES.flatMap((mode) => [true, false].map((hasServer) => ({ query, mode, hasServer }))),
  );

  it.each(table)('$mode, $query, server $hasServer', ({ query, mode, hasServer }) => {
    const [setup, expected] = QUERIES[query]!;
    const run = () => brief(decide({ ...setup, mode, hasServer }));
    if (mode.endsWith('_in_cloud') && hasServer) expect(run()).toEqual(['in_cloud', 'mode', null, null]);
    else if (mode === 'only_in_cloud') expect(run).toThrow(expect.objectContaining({ code: 'server-unreachable' }));
    else if (mode === 'prefer_on_device' && hasServer) expect(run()).toEqual(expected);
    else if (query === 'too long') {
      // Nobody else may take it; where the server was wanted and there is none, that is the error.
      const code = mode === 'prefer_in_cloud' ? 'server-unreachable' : 'context-exceeded';
      expect(run).toThrow(expect.objectContaining({ code }));
    } else if (mode === 'prefer_in_cloud') expect(run()).toEqual(['on_device', 'server-failed', null, null]);
    else expect(run()).toEqual(['on_device', 'mode', null, null]);
  });

  it.each(MODES)('%s asks nothing of the device that it has no use for', (mode) => {
    const situation = { promptTokens: vi.fn(() => 10), scope: vi.fn(() => null), load: vi.fn() };
    const { rule } = ruleOf({ mode, thresholds: CUTS, situation: mode === 'prefer_on_device' ? {} : situation });
    rule.beforeWork();
    expect(rule.needs('after-prompt')).toBe(mode === 'prefer_on_device');
    expect(rule.needs('after-tokens')).toBe(mode === 'prefer_on_device');
    expect(situation.scope).not.toHaveBeenCalled();
    expect(situation.load).not.toHaveBeenCalled();
    expect(situation.promptTokens).toHaveBeenCalledTimes(mode === 'only_on_device' ? 1 : 0);
  });
});

describe('what is computed', () => {
  const needed = (thresholds: Thresholds, config: Partial<RoutingConfig> = {}) => {
    const { rule } = ruleOf({ thresholds, config });
    rule.beforeWork();
    return [rule.signals.scope !== undefined, rule.needs('after-prompt'), rule.needs('after-tokens')];
  };

  it.each<[SignalName, boolean[]]>([
    ['scope', [true, false, false]],
    ['complexity', [false, true, false]],
    ['confidence', [false, false, true]],
    ['correctness', [true, false, true]], // of confidence and scope
  ])('a cut of %s alone: scope, complexity, confidence %o', (name, expected) => {
    expect(needed({ [name]: CUTS[name] })).toEqual(expected);
  });

  it('the probability asks for what it weighs, and for the confidence whatever it weighs', () => {
    const only = (weights: object) => needed({ correctness: 0.5 }, { correctness: { intercept: 0, ...weights } });
    expect(only({ complexity: 1 })).toEqual([false, true, true]);
    expect(only({ logScope: 1, complexity: 0 })).toEqual([true, false, true]);
    expect(only({})).toEqual([false, false, true]);
  });

  it('tells every signal that it read, in the order in which it read them', () => {
    const { signals } = decide({ thresholds: CUTS });
    const names = 'promptTokens maxTokens scope similarity complexity confidence correctness';
    expect(Object.keys(signals)).toEqual(names.split(' '));
    expect(signals).toMatchObject({ promptTokens: 10, maxTokens: 5, scope: 40, similarity: 0.9, complexity: 2 });
    expect(decide({ thresholds: CUTS, query: { nll: 9 } }).signals).not.toHaveProperty('confidence');
  });

  it('refuses thresholds that no query could be held against', () => {
    expect(() => ruleOf({ thresholds: { scope: Number.NaN } })).toThrow(/scope is not a number/);
    expect(() => ruleOf({ thresholds: { correctness: 0.5 }, config: { correctness: null } })).toThrow(/no weights/);
  });

  it('every signal is asked at its stage, and is written once', () => {
    expect(SIGNALS.map(({ name, stage }) => [name, stage])).toEqual([
      ['scope', 'before-work'],
      ['success', 'before-work'],
      ['advantage', 'before-work'],
      ['complexity', 'after-prompt'],
      ['confidence', 'after-tokens'],
      ['correctness', 'after-tokens'],
      ['gain', 'after-tokens'],
    ]);
  });
});

describe('a source that fails', () => {
  const error = (code: ConstructorParameters<typeof CrayonError>[0]) => new CrayonError(code, 'it went wrong');

  it.each([
    ['out-of-memory', ['in_cloud', 'device-failed', null, null], 'on_device'],
    ['context-exceeded', ['in_cloud', 'context', 15, 20], null],
    ['engine-busy', ['in_cloud', 'load', 0, 1], null],
  ] as const)('the device with %s: %o', (code, expected, fallbackFrom) => {
    const decision = ruleOf().rule.insteadOfDevice(error(code));
    expect(brief(decision)).toEqual(expected);
    expect(decision.fallbackFrom).toBe(fallbackFrom);
    expect(decision.failure?.code).toBe(fallbackFrom === null ? undefined : code);
  });

  it.each([
    ['server-failed', 'server-failed'],
    ['server-budget', 'budget'],
    ['server-circuit-open', 'circuit-open'],
  ] as const)('the server with %s: the device, because of %s', (code, reason) => {
    for (const mode of ['prefer_on_device', 'prefer_in_cloud'] as const) {
      const decision = ruleOf({ mode }).rule.insteadOfServer(error(code));
      expect(brief(decision)).toEqual(['on_device', reason, null, null]);
      expect(decision).toMatchObject({ fallbackFrom: 'in_cloud', failure: { code, message: 'it went wrong' } });
    }
  });

  it('is the answer where no other source may: its own error, unchanged', () => {
    const failure = error('out-of-memory');
    const alone: Setup[] = [{ mode: 'only_on_device' }, { hasServer: false }, { mode: 'prefer_in_cloud' }];
    for (const setup of alone) expect(() => ruleOf(setup).rule.insteadOfDevice(failure)).toThrow(failure);
    for (const mode of ['only_in_cloud', 'only_on_device'] as const) {
      expect(() => ruleOf({ mode }).rule.insteadOfServer(failure)).toThrow(failure);
    }
    for (const code of ['interrupted', 'request-invalid'] as const) {
      const wrong = error(code);
      expect(() => ruleOf().rule.insteadOfDevice(wrong)).toThrow(wrong);
      expect(() => ruleOf().rule.insteadOfServer(wrong)).toThrow(wrong);
    }
    expect(() => ruleOf({ config: { load: false } }).rule.insteadOfDevice(error('engine-busy'))).toThrow(/went wrong/);
  });

  it('after the other: the first error, which names the second', () => {
    const { rule } = ruleOf();
    rule.insteadOfDevice(error('out-of-memory'));
    expect(() => rule.insteadOfServer(error('server-timeout'))).toThrow(
      expect.objectContaining({ code: 'out-of-memory', message: expect.stringContaining('server-timeout') }),
    );
    const other = ruleOf({ mode: 'prefer_in_cloud' }).rule;
    other.insteadOfServer(error('server-timeout'));
    expect(() => other.insteadOfDevice(error('out-of-memory'))).toThrow(
      expect.objectContaining({ code: 'server-timeout', message: expect.stringContaining('out-of-memory') }),
    );
  });

  it('the server, with a query too long for the device: both', () => {
    const { rule } = ruleOf({ mode: 'prefer_in_cloud', query: { promptTokens: 16 } });
    expect(() => rule.insteadOfServer(error('server-failed'))).toThrow(
      expect.objectContaining({ code: 'server-failed', message: expect.stringContaining('context-exceeded') }),
    );
  });

  it('keeps the reason of the signal that wanted the server in its signals, not in its reason', () => {
    const { rule } = ruleOf({ thresholds: { scope: 5 }, query: { percentile: 1 } });
    expect(rule.beforeWork()).toMatchObject({ reason: 'scope' });
    expect(rule.insteadOfServer(error('server-failed'))).toMatchObject({
      source: 'on_device',
      reason: 'server-failed',
      score: null,
      signals: { scope: 1 },
    });
  });
});
