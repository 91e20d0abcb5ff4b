import { describe, expect, it } from 'vitest';
import { createRandom } from '../../../src/core/random.js';
import { calibrate, splitFolds } from '../../../src/routing/calibrate/calibrate.js';
import {
  type CalibrationRecord,
  calibrationData,
  cutBetween,
  thresholdsOf,
  toServer,
} from '../../../src/routing/calibrate/data.js';
import { outcomeOf, solveCuts, type Target } from '../../../src/routing/calibrate/rule.js';
import { RoutingRule } from '../../../src/routing/rule.js';
import { RECORDED_SIGNALS, type Thresholds } from '../../../src/routing/signals/index.js';

interface World {
  n: number;
  seed: number;
  /** how much each signal tells of the device's error; 0 is noise */
  tells: { scope: number; complexity: number; confidence: number };
  device?: number;
  server?: number;
}

/** Queries with a hidden difficulty; the device fails on the difficult ones, the server on a few at random. */
function world({ n, seed, tells, device = 0.6, server = 0.9 }: World): CalibrationRecord[] {
  const random = createRandom(seed);
  return Array.from({ length: n }, (_, i) => {
    const difficulty = random.uniform();
    const sees = (weight: number) => weight * difficulty + (1 - weight) * random.uniform();
    return {
      id: `q:${i}`,
      scope: 100 * (1 - sees(tells.scope)),
      complexity: 4 * sees(tells.complexity),
      confidence: -2 * sees(tells.confidence),
      edgeCorrect: difficulty < device ? 1 : 0,
      serverCorrect: random.uniform() < server ? 1 : 0,
      tokens: { edge: 4, serverPrompt: 20, serverCompletion: 4 },
      serverCost: 0.001 * (1 + random.uniform()),
    };
  });
}

const everything = (n: number) => Array.from({ length: n }, (_, i) => i);
const share = (value: number): Target => ({ kind: 'share', value });

/** What the running rule does with a record, as the router would ask it. */
function ruleSends(record: CalibrationRecord, thresholds: Thresholds): boolean {
  const rule = new RoutingRule(
    { mode: 'prefer_on_device', thresholds, confidence: { measure: 'mean-logprob', tokens: 8 }, load: true },
    {
      mode: 'prefer_on_device',
      promptTokens: () => 1,
      maxTokens: 1,
      contextTokens: 100,
      hasServer: true,
      load: () => ({ running: 0, waiting: 0, capacity: 1, queue: 1 }),
      scope: () => ({ percentile: record.scope!, similarity: 0 }),
    },
  );
  let step = rule.beforeWork();
  if (step === 'go on' && rule.needs('after-prompt')) step = rule.afterPrompt(record.complexity!);
  if (step === 'go on') step = rule.needs('after-tokens') ? rule.afterTokens(record.confidence!) : rule.accept();
  return step.source === 'in_cloud';
}

describe('solveCuts', () => {
  it('is as good as trying every cut of one signal', () => {
    const records = world({ n: 60, seed: 1, tells: { scope: 0, complexity: 0, confidence: 0.7 } });
    const data = calibrationData(records);
    const all = everything(60);
    const options = [Number.NEGATIVE_INFINITY, ...data.suspicion.confidence].map((cut) =>
      outcomeOf(data, all, (i) => data.suspicion.confidence[i]! > cut),
    );
    for (const value of [0, 0.1, 0.33, 0.5, 0.98, 1]) {
      const within = options.filter((o) => o.share <= value + 1e-9).map((o) => o.share);
      expect(solveCuts(data, all, ['confidence'], share(value))!.share).toBe(Math.max(...within, 0));
    }
    for (const value of [0.6, 0.7, 0.8]) {
      const found = solveCuts(data, all, ['confidence'], { kind: 'accuracy', value })!;
      const enough = options.filter((o) => o.accuracy >= value - 1e-9).map((o) => o.share);
      expect(found).toMatchObject({ attained: true, share: Math.min(...enough) });
    }
    for (const value of [0.1, 0.5, 1]) {
      const within = options.filter((o) => o.costPer1000 <= value).map((o) => o.share);
      expect(solveCuts(data, all, ['confidence'], { kind: 'cost', value })!.share).toBeCloseTo(Math.max(...within), 12);
    }
  });

  it('says when an accuracy is out of reach, and comes as near as it can', () => {
    const data = calibrationData(world({ n: 60, seed: 2, tells: { scope: 0, complexity: 0, confidence: 0.5 } }));
    const found = solveCuts(data, everything(60), ['confidence'], { kind: 'accuracy', value: 1.01 })!;
    const best = Math.max(
      ...data.suspicion.confidence.map(
        (cut) => outcomeOf(data, everything(60), (i) => data.suspicion.confidence[i]! > cut).accuracy,
      ),
    );
    expect(found.attained).toBe(false);
    expect(found.accuracy).toBeGreaterThanOrEqual(best);
  });

  it('reports what its cuts do, for every set of signals and target, and the running rule does the same', () => {
    const records = world({ n: 80, seed: 3, tells: { scope: 0.5, complexity: 0.4, confidence: 0.6 } });
    const data = calibrationData(records);
    const targets: Target[] = [share(0.25), { kind: 'accuracy', value: 0.8 }, { kind: 'cost', value: 0.4 }];
    for (let bits = 1; bits < 8; bits++) {
      const signals = RECORDED_SIGNALS.filter((_, i) => bits & (1 << i));
      for (const target of targets) {
        const { cuts, share, accuracy, costPer1000 } = solveCuts(data, everything(80), signals, target)!;
        const direct = outcomeOf(data, everything(80), (i) => toServer(data, cuts, i));
        expect(direct.share).toBeCloseTo(share, 12);
        expect(direct.accuracy).toBeCloseTo(accuracy, 12);
        expect(direct.costPer1000).toBeCloseTo(costPer1000, 9);
        const thresholds = thresholdsOf(cuts);
        for (const [i, record] of records.entries()) {
          expect(ruleSends(record, thresholds)).toBe(toServer(data, cuts, i));
        }
        // It comes back from the file as the same numbers.
        expect(JSON.parse(JSON.stringify(thresholds))).toEqual(thresholds);
      }
    }
  });

  it('never parts equal scores', () => {
    const records = world({ n: 40, seed: 4, tells: { scope: 0, complexity: 0, confidence: 1 } }).map((r) => ({
      ...r,
      confidence: Math.round(2 * r.confidence!) / 2,
    }));
    const data = calibrationData(records);
    for (const value of [0.05, 0.2, 0.5, 0.9]) {
      const { cuts } = solveCuts(data, everything(40), ['confidence'], share(value))!;
      expect([...new Set(records.map((r) => r.confidence))]).not.toContain(thresholdsOf(cuts).confidence);
      expect(outcomeOf(data, everything(40), (i) => toServer(data, cuts, i)).share).toBeLessThanOrEqual(value);
    }
  });

  it('copes with answers without a token, whose confidence is minus infinity', () => {
    const records = world({ n: 40, seed: 5, tells: { scope: 0, complexity: 0, confidence: 1 } }).map((r, i) => ({
      ...r,
      confidence: i < 10 ? Number.NEGATIVE_INFINITY : r.confidence,
    }));
    const data = calibrationData(records);
    for (const value of [0.1, 0.25, 0.5, 1]) {
      const found = solveCuts(data, everything(40), ['confidence'], share(value))!;
      expect(found.share).toBeCloseTo(value < 0.25 ? 0 : value, 12);
      const cut = thresholdsOf(found.cuts).confidence;
      expect(cut === null || Number.isFinite(cut)).toBe(true);
      for (const [i, record] of records.entries()) {
        expect(ruleSends(record, thresholdsOf(found.cuts))).toBe(toServer(data, found.cuts, i));
      }
    }
  });
});

describe('cutBetween', () => {
  it.each([
    [0.731234, 0.739, 0.735],
    [1.2, 9.9, 6],
    [-0.5, -0.4999999, -0.5],
    [3.00000001, 3.00000002, 3.00000001],
    [-2, 5, 2],
  ])('parts %d from %d with few digits', (low, high, expected) => {
    const cut = cutBetween('confidence', low, high);
    expect(cut >= low && cut < high).toBe(true);
    expect(`${cut}`.length).toBeLessThanOrEqual(`${expected}`.length);
  });
});

describe('calibrate', () => {
  const options = { seed: 7, resamples: 300 };

  it('is a function of the records and the seed', { tags: 'slow' }, () => {
    const records = world({ n: 100, seed: 6, tells: { scope: 0.3, complexity: 0.3, confidence: 0.6 } });
    const once = calibrate(records, { ...options, target: share(0.3) });
    expect(calibrate(records, { ...options, target: share(0.3) })).toEqual(once);
  });

  it.each(RECORDED_SIGNALS)('finds that %s alone tells something, and leaves the others off', (telling) => {
    const tells = { scope: 0, complexity: 0, confidence: 0, [telling]: 0.9 };
    const { signals, thresholds, helps } = calibrate(world({ n: 300, seed: 8, tells }), {
      ...options,
      target: share(0.3),
    });
    expect(signals).toEqual([telling]);
    expect(helps).toBe(true);
    for (const name of RECORDED_SIGNALS) {
      if (name === telling) expect(thresholds[name]).not.toBe(null);
      else expect(thresholds[name]).toBe(null);
    }
  });

  it('takes two signals where each sees what the other does not', { tags: 'slow' }, () => {
    // Half of the device's errors are out of scope, the other half are hard: no single signal finds both.
    const random = createRandom(9);
    const records = world({ n: 600, seed: 10, tells: { scope: 0, complexity: 0, confidence: 0 }, device: 1 }).map(
      (r, i) => {
        const kind = i % 5 === 0 ? 'stray' : i % 5 === 1 ? 'hard' : 'easy';
        return {
          ...r,
          edgeCorrect: kind === 'easy' ? 1 : 0,
          serverCorrect: 1,
          scope: kind === 'stray' ? 5 * random.uniform() : 5 + 95 * random.uniform(),
          confidence: kind === 'hard' ? -2 + random.uniform() : -random.uniform(),
        };
      },
    );
    const found = calibrate(records, { ...options, target: share(0.4) });
    expect(found.signals).toEqual(['scope', 'confidence']);
    expect(found.heldOut.accuracy.estimate).toBeGreaterThan(0.95);
  });

  it('says that noise does not help, and its curve is that of random routing', { tags: 'slow' }, () => {
    const records = world({ n: 800, seed: 12, tells: { scope: 0, complexity: 0, confidence: 0 } });
    const { helps, curve, heldOut } = calibrate(records, { ...options, target: share(0.3) });
    expect(helps).toBe(false);
    expect(curve.apgr!.low).toBeLessThan(0.5);
    expect(curve.apgr!.high).toBeGreaterThan(0.5);
    expect(heldOut.share.estimate).toBeCloseTo(0.3, 1);
  });

  it('approaches the oracle when the signal is the truth', () => {
    const records = world({ n: 200, seed: 13, tells: { scope: 0, complexity: 0, confidence: 0 }, server: 1 }).map(
      (r) => ({
        ...r,
        confidence: r.edgeCorrect === 1 ? -0.1 : -3,
      }),
    );
    const { curve, thresholds, calibrated } = calibrate(records, {
      ...options,
      target: { kind: 'accuracy', value: 1 },
    });
    expect(thresholds.confidence!).toBeGreaterThan(-3);
    expect(thresholds.confidence!).toBeLessThanOrEqual(-0.1);
    expect(calibrated.accuracy).toBe(1);
    expect(calibrated.share).toBeCloseTo(1 - records.filter((r) => r.edgeCorrect).length / 200, 12);
    for (const point of curve.points) expect(point.accuracy.estimate).toBeLessThanOrEqual(point.oracle + 1e-9);
    const wrong = calibrated.share;
    expect(curve.oracleApgr!).toBeCloseTo(1 - wrong / 2, 10); // rises to 1 at the share of errors, then stays
  });

  it('starts at the device, ends at the server, and random routing is the line between', () => {
    const records = world({ n: 150, seed: 14, tells: { scope: 0.2, complexity: 0.2, confidence: 0.5 } });
    const { curve, edgeAccuracy, serverAccuracy } = calibrate(records, { ...options, target: share(0.5) });
    const [first, last] = [curve.points[0]!, curve.points.at(-1)!];
    expect(first).toMatchObject({ share: 0, costPer1000: 0, random: edgeAccuracy.estimate });
    expect(first.accuracy.estimate).toBe(edgeAccuracy.estimate);
    expect(first.oracle).toBeCloseTo(edgeAccuracy.estimate, 12);
    expect(last.share).toBe(1);
    expect(last.accuracy.estimate).toBe(serverAccuracy.estimate);
    expect(last.oracle).toBeCloseTo(serverAccuracy.estimate, 12);
    for (const point of curve.points) {
      expect(point.random).toBeCloseTo(
        edgeAccuracy.estimate + point.share * (serverAccuracy.estimate - edgeAccuracy.estimate),
        12,
      );
      expect(point.accuracy.low).toBeLessThanOrEqual(point.accuracy.estimate);
      expect(point.accuracy.high).toBeGreaterThanOrEqual(point.accuracy.estimate);
    }
  });

  it('leaves every signal off where the device already reaches the accuracy', { tags: 'slow' }, () => {
    const records = world({ n: 100, seed: 15, tells: { scope: 0, complexity: 0, confidence: 0.8 }, device: 0.95 });
    const found = calibrate(records, { ...options, target: { kind: 'accuracy', value: 0.8 } });
    expect(found.thresholds).toEqual({
      scope: null,
      success: null,
      advantage: null,
      gain: null,
      complexity: null,
      confidence: null,
      correctness: null,
    });
    expect(found).toMatchObject({ attained: true, calibrated: { share: 0 }, signals: [] });
  });

  it('has no recovered gap to tell of where both sources are equal', () => {
    const records = world({ n: 50, seed: 16, tells: { scope: 0, complexity: 0, confidence: 0.5 } }).map((r) => ({
      ...r,
      serverCorrect: r.edgeCorrect,
    }));
    expect(calibrate(records, { ...options, target: share(0.3) }).curve).toMatchObject({
      apgr: null,
      oracleApgr: null,
    });
  });

  it('keeps within a cost, and uses only signals that every record has', () => {
    const records = world({ n: 200, seed: 17, tells: { scope: 0.9, complexity: 0, confidence: 0.5 } }).map((r, i) => ({
      ...r,
      scope: i === 0 ? null : r.scope,
    }));
    const found = calibrate(records, { ...options, target: { kind: 'cost', value: 0.3 } });
    expect(found.thresholds.scope).toBe(null);
    expect(found.calibrated.costPer1000).toBeLessThanOrEqual(0.3);
    expect(found.calibrated.costPer1000).toBeGreaterThan(0.25);
    expect(found.candidates.flatMap((c) => c.signals)).not.toContain('scope');
  });

  it('refuses too few records and values that are no numbers, by name', () => {
    const records = world({ n: 30, seed: 18, tells: { scope: 0, complexity: 0, confidence: 0 } });
    expect(() => calibrate(records.slice(0, 19), { ...options, target: share(0.2) })).toThrow(
      expect.objectContaining({ code: 'dataset-too-small' }),
    );
    records[4]!.confidence = Number.NaN;
    expect(() => calibrate(records, { ...options, target: share(0.2) })).toThrow(
      expect.objectContaining({ code: 'example-invalid', message: expect.stringContaining('q:4') }),
    );
  });

  it('holds each record out once', () => {
    const folds = splitFolds(23, 5, 1);
    expect(folds.map((fold) => fold.length)).toEqual([5, 5, 5, 4, 4]);
    expect(folds.flat().sort((a, b) => a - b)).toEqual(everything(23));
    expect(splitFolds(23, 5, 2)).not.toEqual(folds);
  });
});
