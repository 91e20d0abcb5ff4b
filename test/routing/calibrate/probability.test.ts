import { describe, expect, it } from 'vitest';
import { createRandom } from '../../../src/core/random.js';
import { calibrate, splitFolds } from '../../../src/routing/calibrate/calibrate.js';
import { type CalibrationRecord, calibrationData, dataByMeasure } from '../../../src/routing/calibrate/data.js';
import { fitted } from '../../../src/routing/calibrate/fit.js';
import { chooseMeasure, fitMap, probabilitiesOf, withMap } from '../../../src/routing/calibrate/probability.js';
import { correctnessOf } from '../../../src/routing/signals/correctness.js';

/** Answers that are right by how sure the device is and how near the prompt is to its examples. */
function records(n: number, seed: number, rightBy: (sureness: number, near: number) => number): CalibrationRecord[] {
  const random = createRandom(seed, 'records');
  return Array.from({ length: n }, (_, i) => {
    const [sureness, near] = [random.uniform(), random.uniform()];
    return {
      id: String(i),
      scope: 100 * near,
      confidence: Math.log(sureness),
      confidences: { 'mean-logprob': Math.log(sureness), margin: random.uniform(), 'min-probability': null },
      edgeCorrect: random.uniform() < rightBy(sureness, near) ? 1 : 0,
      serverCorrect: 1,
      tokens: { edge: 1, serverPrompt: 1, serverCompletion: 1 },
      serverCost: 0,
    };
  });
}

const step = (sureness: number, near: number) => (sureness + near > 1 ? 0.95 : 0.25);
const smooth = (sureness: number, near: number) => 1 / (1 + Math.exp(-4 * (sureness + near - 1)));
const SET = { signals: ['correctness' as const], features: ['probability' as const, 'scope' as const] };
const OPTIONS = { seed: 0, resamples: 200 };

const judged = (rightBy: (sureness: number, near: number) => number, n = 500) => {
  const data = calibrationData(records(n, 1, rightBy));
  return probabilitiesOf(data, SET, splitFolds(n, 5, 0), OPTIONS);
};

describe('the map of a probability', () => {
  it('is isotonic where the chance steps, and the error of calibration falls to what chance makes of it', () => {
    const { map, saved, savedStderr, reliability } = judged(step);
    expect(map).toBe('isotonic');
    expect(saved).toBeGreaterThan(savedStderr);
    expect(reliability.logistic.ece.estimate).toBeGreaterThan(0.08);
    expect(reliability.isotonic.ece.estimate).toBeLessThan(reliability.logistic.ece.estimate);
    expect(reliability.isotonic.ece.low).toBeLessThan(0.05);
    expect(reliability.isotonic.brier).toBeLessThan(reliability.logistic.brier);
    expect(reliability.confidence!.ece.low).toBeGreaterThan(reliability.isotonic.ece.low); // the confidence alone is no probability
  });

  it('stays logistic where that is the truth: steps cost, and save nothing', () => {
    const { map, saved, reliability } = judged(smooth);
    expect(map).toBe('logistic');
    expect(saved).toBeLessThan(0);
    expect(reliability.logistic.ece.low).toBe(0);
  });

  it('is fitted to answers alone: one without a token is none, and stays one', () => {
    const given = records(100, 2, step);
    for (const record of given.slice(0, 30))
      Object.assign(record, { confidence: Number.NEGATIVE_INFINITY, edgeCorrect: 0 });
    const { data } = fitted(calibrationData(given), SET, [...given.keys()]);
    const knots = fitMap(data, data.all)!;
    expect(knots).toEqual(fitMap(data, data.all.slice(30)));
    expect(withMap(data, knots).suspicion.correctness[0]).toBe(-0);
    expect(correctnessOf({ intercept: 9 }, 'mean-logprob', { confidence: Number.NEGATIVE_INFINITY }, knots)).toBe(0);
    expect(fitMap(data, [0, 1, 2])).toBeNull();
  });

  it('keeps the order, and its cut is what the running signal makes of the weights and the map', () => {
    const given = records(400, 3, step);
    const found = calibrate(given, { target: { kind: 'share', value: 0.4 }, measure: 'mean-logprob', ...OPTIONS });
    expect(found.signals).toEqual(['correctness']);
    expect(found.correctnessMap!.length).toBeGreaterThan(2);
    const running = given.map((record) =>
      correctnessOf(found.correctness!, 'mean-logprob', record, found.correctnessMap),
    );
    const plain = given.map((record) => correctnessOf(found.correctness!, 'mean-logprob', record));
    const order = [...given.keys()].sort((i, j) => plain[i]! - plain[j]!);
    for (const [k, i] of order.slice(1).entries()) expect(running[i]!).toBeGreaterThanOrEqual(running[order[k]!]!);
    const sent = running.filter((p) => p < found.thresholds.correctness!).length;
    expect(sent / 400).toBeCloseTo(found.calibrated.share, 12);
    expect(found.probabilities).toMatchObject({ map: 'isotonic', features: found.candidates[0]!.features });
  });

  it('leaves a run without combined signals as it was', () => {
    const found = calibrate(records(100, 4, step), { target: { kind: 'share', value: 0.4 }, ...OPTIONS });
    expect(found).toMatchObject({ probabilities: null, correctnessMap: null });
  });
});

describe('chooseMeasure', () => {
  it('takes another measure only where it orders clearly better', () => {
    const given = records(300, 5, (sureness) => sureness);
    const bad = given.map((record) => ({ ...record, confidence: record.confidences!.margin! }));
    const better = chooseMeasure(dataByMeasure(bad, ['margin', 'mean-logprob', 'min-probability']));
    expect(better.measure).toBe('mean-logprob');
    expect(better.aurocs['mean-logprob']! - better.aurocs.margin!).toBeGreaterThan(0.2);
    expect(Object.keys(better.aurocs)).toEqual(['margin', 'mean-logprob']); // the third is null in the records
    expect(chooseMeasure(dataByMeasure(given, ['mean-logprob', 'margin'])).measure).toBe('mean-logprob');
  });
});
