/** Calibration of the combined signal on made-up records whose answer is known. */

import { describe, expect, it } from 'vitest';
import { createRandom } from '../../../src/core/random.js';
import { type Calibration, calibrate, splitFolds } from '../../../src/routing/calibrate/calibrate.js';
import { type CalibrationRecord, calibrationData, toServer } from '../../../src/routing/calibrate/data.js';
import { combinationsOf, effortOf, fitted, heldOutFolds, heldOutRouting } from '../../../src/routing/calibrate/fit.js';
import { solveCuts, type Target } from '../../../src/routing/calibrate/rule.js';
import { RoutingRule } from '../../../src/routing/rule.js';
import { correctnessOf } from '../../../src/routing/signals/correctness.js';

const options = { seed: 7, resamples: 200, measure: 'mean-logprob' } as const;
const share = (value: number): Target => ({ kind: 'share', value });
const everything = (n: number) => Array.from({ length: n }, (_, i) => i);
const sigmoid = (z: number) => 1 / (1 + Math.exp(-z));

type Uniform = () => number;

/** Records with a probability and a place in scope (0 to 1) each, right as `isRight` says; the server is always right. */
function records(n: number, seed: number, isRight: (p: number, s: number, uniform: Uniform) => boolean) {
  const random = createRandom(seed);
  const uniform = () => random.uniform();
  return Array.from({ length: n }, (_, i): CalibrationRecord => {
    const [p, s] = [uniform(), uniform()];
    return {
      id: `q:${i}`,
      scope: 100 * s,
      complexity: 4 * uniform(),
      confidence: Math.log(p),
      edgeCorrect: isRight(p, s, uniform) ? 1 : 0,
      serverCorrect: 1,
      tokens: { edge: 4, serverPrompt: 20, serverCompletion: 4 },
      serverCost: 0.001,
    };
  });
}

/** Right where it is surer than it is far: neither alone says it, and no two cuts of their own do. */
const onlyTogether = (n: number, seed: number) => records(n, seed, (p, s) => p + s > 1);

/** What the running rule does with a record. */
function ruleSends({ scope, complexity, confidence, clusters }: CalibrationRecord, found: Calibration): boolean {
  const { thresholds, correctness, correctnessMap, success } = found;
  const rule = new RoutingRule(
    {
      mode: 'prefer_on_device',
      thresholds,
      correctness,
      correctnessMap,
      success,
      load: true,
      confidence: { measure: 'mean-logprob', tokens: 8 },
    },
    {
      mode: 'prefer_on_device',
      promptTokens: () => 1,
      maxTokens: 1,
      contextTokens: 100,
      hasServer: true,
      load: () => ({ running: 0, waiting: 0, capacity: 1, queue: 1 }),
      scope: () => ({ percentile: scope!, similarity: 0 }),
      clusters: () => (clusters ? Float64Array.from(clusters) : null),
    },
  );
  let step = rule.beforeWork();
  if (step === 'go on' && rule.needs('after-prompt')) step = rule.afterPrompt(complexity!);
  if (step === 'go on' && rule.needs('after-tokens')) step = rule.afterTokens(confidence!);
  return step !== 'go on' && step.source === 'in_cloud';
}

describe('calibrate, where only the combination separates', () => {
  const made = onlyTogether(600, 1);
  const wrong = made.filter((r) => r.edgeCorrect === 0).length / 600;
  const found = calibrate(made, { ...options, target: share(0.5) });

  it('takes the probability of the two that tell, and no third', () => {
    expect(found.signals).toEqual(['correctness']);
    expect(Object.keys(found.correctness!)).toEqual(['intercept', 'probability', 'scope']);
    expect(found.thresholds).toMatchObject({ scope: null, complexity: null, confidence: null });
    expect(found.thresholds.correctness).toBeGreaterThan(0);
    expect(found.thresholds.correctness).toBeLessThan(1);
    expect(found.helps).toBe(true);
  });

  it('finds the known line, p + s = 1', () => {
    const { intercept, probability = 0, scope = 0 } = found.correctness!;
    expect(scope / probability).toBeCloseTo(1, 1);
    expect(-intercept / probability).toBeCloseTo(1, 1);
  });

  it('is nearly as good on held-out records as knowing the answers, and no staged rule is', { tags: 'slow' }, () => {
    expect(wrong).toBeGreaterThan(0.45);
    expect(found.heldOut.accuracy.estimate).toBeGreaterThan(0.97);
    expect(found.curve.oracleApgr! - found.curve.apgr!.estimate).toBeLessThan(0.01);
    const staged = found.candidates.filter(({ features }) => features.length === 0);
    expect(staged).toHaveLength(7);
    for (const { accuracy } of staged) expect(accuracy).toBeLessThan(0.92);
    const { curve } = calibrate(made, { ...options, measure: undefined, target: share(0.5) });
    expect(found.curve.apgr!.low).toBeGreaterThan(curve.apgr!.high);
  });

  it('the running rule sends what calibration said it would', () => {
    const sent = made.filter((record) => ruleSends(record, found));
    expect(sent.length / made.length).toBeCloseTo(found.calibrated.share, 12);
    const right = made.filter((record) => record.edgeCorrect === 1 || sent.includes(record));
    expect(right.length / made.length).toBeCloseTo(found.calibrated.accuracy, 12);
    expect(JSON.parse(JSON.stringify(found.correctness))).toEqual(found.correctness);
  });

  it('meets an accuracy with fewer queries than any staged rule, and keeps within a cost', { tags: 'slow' }, () => {
    const target: Target = { kind: 'accuracy', value: 0.95 };
    const combined = calibrate(made, { ...options, target });
    const staged = calibrate(made, { ...options, measure: undefined, target });
    expect(combined).toMatchObject({ signals: ['correctness'], attained: true });
    expect(combined.calibrated.share).toBeLessThan(staged.calibrated.share - 0.03);
    const cheap = calibrate(made, { ...options, target: { kind: 'cost', value: 0.2 } });
    expect(cheap.calibrated.costPer1000).toBeCloseTo(0.2, 9);
    expect(cheap.calibrated.share).toBeCloseTo(0.2, 9);
  });

  it('is not tried where the caller does not say what the confidences are', { tags: 'slow' }, () => {
    const { candidates, correctness, thresholds } = calibrate(made, {
      ...options,
      measure: undefined,
      target: share(0.5),
    });
    expect(candidates.every(({ features }) => features.length === 0)).toBe(true);
    expect([correctness, thresholds.correctness]).toEqual([null, null]);
  });
});

describe('calibrate, where the combination is not needed', () => {
  it('stays with one cut where one signal tells, and with two where each tells of its own kind', {
    tags: 'slow',
  }, () => {
    const one = calibrate(
      records(400, 2, (p) => p > 0.4),
      { ...options, target: share(0.3) },
    );
    expect(one).toMatchObject({ signals: ['confidence'], correctness: null, thresholds: { correctness: null } });
    const two = calibrate(
      records(600, 3, (p, s) => p > 0.2 && s > 0.2),
      { ...options, target: share(0.36) },
    );
    expect(two).toMatchObject({ signals: ['scope', 'confidence'], correctness: null });
  });

  it('does not learn noise: with answers that nothing tells of, the curve is that of random routing', {
    tags: 'slow',
  }, () => {
    const noise = records(600, 4, (_p, _s, uniform) => uniform() < 0.5);
    const data = calibrationData(noise, 'mean-logprob');
    const folds = splitFolds(data.n, 5, 1);
    for (const combination of combinationsOf(data, true, true).filter(({ features }) => features.length > 0)) {
      const routed = heldOutRouting(heldOutFolds(data, combination, folds), data.n, combination.signals, share(0.5));
      const sent = noise.filter((_, i) => routed[i] === 1);
      const wrong = sent.filter((r) => r.edgeCorrect === 0).length / sent.length;
      const base = noise.filter((r) => r.edgeCorrect === 0).length / noise.length;
      expect(Math.abs(wrong - base)).toBeLessThan(3 * Math.sqrt(0.25 / sent.length));
    }
    const found = calibrate(noise, { ...options, target: share(0.3) });
    expect(found.curve.apgr!.low).toBeLessThan(0.5);
    expect(found.curve.apgr!.high).toBeGreaterThan(0.5);
  });
});

describe('fitted', () => {
  const combination = { signals: ['correctness' as const], features: ['probability' as const, 'scope' as const] };

  it('recovers the weights that the answers were drawn by, so that the probability means what it says', () => {
    const chance = (p: number, s: number) => sigmoid(-3 + 4 * p + 2 * s);
    const made = records(6000, 5, (p, s, uniform) => uniform() < chance(p, s));
    const { weights } = fitted(calibrationData(made, 'mean-logprob'), combination, everything(6000));
    expect(weights!.intercept).toBeCloseTo(-3, 0);
    expect(weights!.probability! - 4).toBeCloseTo(0, 0);
    expect(weights!.scope! - 2).toBeCloseTo(0, 0);
    for (const r of made.slice(0, 200)) {
      const said = correctnessOf(weights!, 'mean-logprob', {
        scope: r.scope!,
        complexity: r.complexity!,
        confidence: r.confidence!,
      });
      expect(Math.abs(said - chance(Math.exp(r.confidence!), r.scope! / 100))).toBeLessThan(0.04);
    }
  });

  it('depends on nothing that is held out', () => {
    const made = onlyTogether(100, 6);
    const others = everything(100).slice(0, 80);
    const turned = made.map((r, i) => (i < 80 ? r : { ...r, edgeCorrect: 1 - r.edgeCorrect, serverCorrect: 0 }));
    const [a, b] = [made, turned].map((set) => fitted(calibrationData(set, 'mean-logprob'), combination, others));
    expect(a!.weights).toEqual(b!.weights);
    expect(a!.data.suspicion.correctness).toEqual(b!.data.suspicion.correctness);
  });

  it('leaves answers without a token out of the fit, and suspects them most', () => {
    const made = onlyTogether(200, 7).map((r, i) =>
      i < 30 ? { ...r, confidence: Number.NEGATIVE_INFINITY, edgeCorrect: 0 } : r,
    );
    const data = calibrationData(made, 'mean-logprob');
    const whole = fitted(data, combination, everything(200));
    const rest = fitted(data, combination, everything(200).slice(30));
    expect(whole.weights).toEqual(rest.weights);
    const { cuts } = solveCuts(whole.data, everything(200), ['correctness'], share(0.15))!;
    expect(everything(200).filter((i) => toServer(whole.data, cuts, i))).toEqual(everything(30));
    const empty = fitted(data, combination, everything(30));
    expect(empty.weights).toEqual({ intercept: 0 });
  });

  it('gives everything to the server at a share of 1, with a cut that the configuration takes', () => {
    const { data } = fitted(calibrationData(onlyTogether(50, 8), 'mean-logprob'), combination, everything(50));
    const { cuts, share: sent } = solveCuts(data, everything(50), ['correctness'], share(1))!;
    expect([cuts.correctness, sent]).toEqual([-1, 1]);
    expect(everything(50).every((i) => toServer(data, cuts, i))).toBe(true);
  });
});

describe('combinationsOf', () => {
  it('offers only what every record has, the staged rule before the probability and few parts before many', () => {
    const made = onlyTogether(30, 9);
    const without = (name: 'scope' | 'complexity') => made.map((r, i) => (i === 0 ? { ...r, [name]: null } : r));
    const featuresOf = (set: CalibrationRecord[]) =>
      combinationsOf(calibrationData(set), true, true).flatMap(({ features }) => features);
    expect(new Set(featuresOf(without('scope')))).toEqual(new Set(['probability', 'complexity']));
    expect(new Set(featuresOf(without('complexity')))).toEqual(new Set(['probability', 'scope', 'logScope']));
    const all = combinationsOf(calibrationData(made), true, true);
    const bySize = [...all].sort((a, b) => effortOf(a) - effortOf(b));
    expect(bySize.map(({ features }) => features.length)).toEqual([...new Array<number>(7).fill(0), 2, 2, 2, 3, 3]);
    expect(combinationsOf(calibrationData(made), false, true)).toHaveLength(7);
  });

  it('refuses records with a value that is no number, as ever', () => {
    const made = onlyTogether(30, 10);
    made[3]!.scope = Number.NaN;
    expect(() => calibrate(made, { ...options, target: share(0.2) })).toThrow(
      expect.objectContaining({ code: 'example-invalid', message: expect.stringContaining('q:3') }),
    );
  });
});

describe('the rates of clusters', () => {
  const gateOf = (cluster: number) => [0, 1, 2, 3].map((n) => (n === cluster ? 0.94 : 0.02));
  /** Query i is of cluster i % 4; the device is right in the first two, and in the others not. What else is told is noise. */
  const byCluster = (n: number, seed: number) =>
    records(n, seed, (_, __, uniform) => uniform() < 0.9).map((record, i) => {
      const right = i % 4 < 2 ? record.edgeCorrect : 1 - record.edgeCorrect;
      return { ...record, edgeCorrect: right, clusters: gateOf(i % 4) };
    });
  const made = byCluster(400, 21);

  it('are chosen where they alone tell, written to four digits, and followed by the running rule', () => {
    const found = calibrate(made, { ...options, target: share(0.55) });
    expect(found.signals).toEqual(['success']);
    expect(found.success!.map((rate) => rate > 0.8)).toEqual([true, true, false, false]);
    expect(found.success!.map((rate) => rate < 0.2)).toEqual([false, false, true, true]);
    expect(found.success!.every((rate) => rate === Number(rate.toPrecision(4)))).toBe(true);
    expect(found.correctness).toBe(null);
    expect(found.helps).toBe(true);
    const sent = made.filter((record) => ruleSends(record, found));
    expect(sent.length / made.length).toBeCloseTo(found.calibrated.share, 12);
    expect(sent.every(({ clusters }) => clusters![2]! + clusters![3]! > 0.9)).toBe(true);
  });

  it('stand beside the confidence in the probability, where each tells a part', { tags: 'slow' }, () => {
    const both = records(600, 22, () => true).map((record, i) => ({
      ...record,
      edgeCorrect: Math.exp(record.confidence!) + (i % 4) / 4 < 0.9 ? 0 : 1,
      clusters: gateOf(i % 4),
    }));
    const found = calibrate(both, { ...options, target: share(0.4) });
    expect(found.correctness).toMatchObject({ success: expect.any(Number), probability: expect.any(Number) });
    expect(found.correctness!.success).toBeGreaterThan(0);
    expect(found.success).toHaveLength(4);
    const sent = both.filter((record) => ruleSends(record, found)).length;
    expect(sent / both.length).toBeCloseTo(found.calibrated.share, 12);
  });

  it('are counted on the records of the other folds alone', () => {
    const data = calibrationData(made);
    const half = everything(200);
    const { rates } = fitted(data, { signals: ['success'], features: [] }, half);
    const flipped = made.map((record, i) => (i < 200 ? record : { ...record, edgeCorrect: 1 - record.edgeCorrect }));
    expect(fitted(calibrationData(flipped), { signals: ['success'], features: [] }, half).rates).toEqual(rates);
  });

  it('carry to a user of known clusters whom they have not seen, where a rule of the signals knows nothing', () => {
    const stranger = byCluster(200, 23); // another user, the same clusters
    const found = calibrate(made, { ...options, target: share(0.55) });
    const right = stranger.map((record) => (ruleSends(record, found) ? record.serverCorrect : record.edgeCorrect));
    const plain = made.map(({ clusters: _, ...record }) => record);
    const without = calibrate(plain, { ...options, target: share(0.55) });
    const otherwise = stranger.map((record) =>
      ruleSends(record, without) ? record.serverCorrect : record.edgeCorrect,
    );
    const mean = (values: number[]) => values.reduce((a, b) => a + b, 0) / values.length;
    expect(mean(right)).toBeGreaterThan(0.9);
    expect(mean(right) - mean(otherwise)).toBeGreaterThan(0.08);
  });

  it('are tried only where every record has its gate: those of earlier versions calibrate as before', () => {
    const [first, ...rest] = made;
    const mixed = [{ ...first!, clusters: null }, ...rest];
    const earlier = made.map(({ clusters: _, ...record }) => record);
    expect(calibrate(mixed, { ...options, target: share(0.3) })).toEqual(
      calibrate(earlier, { ...options, target: share(0.3) }),
    );
    expect(calibrationData(earlier).available).toEqual(['scope', 'complexity', 'confidence']);
    expect(calibrationData(made).available).toEqual(['scope', 'success', 'advantage', 'complexity', 'confidence']);
  });

  it.each([
    ['not a number', [0.5, Number.NaN, 0.25, 0.25]],
    ['of other clusters', [0.5, 0.5]],
  ])('refuse a gate that is %s', (_, clusters) => {
    const bad = made.map((record, i) => (i === 7 ? { ...record, clusters } : record));
    expect(() => calibrationData(bad)).toThrow(expect.objectContaining({ code: 'example-invalid' }));
  });
});
