import { describe, expect, it } from 'vitest';
import { createRandom } from '../../../src/core/random.js';
import { type CalibrationRecord, calibrationData, dataByMeasure } from '../../../src/routing/calibrate/data.js';
import {
  examplesMissing,
  keptBy,
  planRisk,
  realisedRisk,
  riskThresholds,
  testRisk,
} from '../../../src/routing/calibrate/risk.js';

/** Queries of which the device is sure to a degree, and right with a chance by that. */
function queries(n: number, seed: number, rightBy: (sureness: number) => number) {
  const random = createRandom(seed, 'queries');
  const wrong: number[] = [];
  const records = Array.from({ length: n }, (_, i): CalibrationRecord => {
    const sureness = random.uniform();
    wrong.push(1 - rightBy(sureness));
    return {
      id: String(i),
      scope: 100 * random.uniform(),
      confidence: Math.log(sureness),
      confidences: { 'mean-logprob': Math.log(sureness), margin: random.uniform() },
      edgeCorrect: random.uniform() < rightBy(sureness) ? 1 : 0,
      serverCorrect: 1,
      tokens: { edge: 1, serverPrompt: 1, serverCompletion: 1 },
      serverCost: 0,
    };
  });
  return { records, data: calibrationData(records), wrong };
}

const OPTIONS = { risk: 0.1, confidence: 0.95, seed: 0 };
const found = (records: CalibrationRecord[], options = OPTIONS) => {
  const data = calibrationData(records);
  const plan = planRisk([data], data.all, options);
  return { plan, result: testRisk(plan, options) };
};

describe('a cut with a guarantee', () => {
  it('takes 29 answers without an error, and 46 with one', () => {
    const right = (n: number) => queries(n, 1, () => 1).records;
    expect(found(right(28)).result.holds).toBe(false);
    expect(found(right(29)).result).toMatchObject({ holds: true, kept: 29, wrong: 0, cut: Number.POSITIVE_INFINITY });
    // The surest answer is wrong: the first cut, which keeps half, has to keep 46.
    const few = found(right(20));
    expect(examplesMissing(few.plan, few.result, OPTIONS)).toBe(9);
    const oneWrong = (n: number) => {
      const records = right(n).sort((a, b) => b.confidence! - a.confidence!);
      records[0]!.edgeCorrect = 0;
      return records;
    };
    expect(found(oneWrong(46)).result).toMatchObject({ holds: false, kept: 29, wrong: 1 });
    expect(found(oneWrong(90)).result).toMatchObject({ holds: false, kept: 45, wrong: 1 });
    expect(found(oneWrong(91)).result).toMatchObject({ holds: true, kept: 91, wrong: 1 });
    expect(examplesMissing(found(oneWrong(46)).plan, found(oneWrong(46)).result, OPTIONS)).toBe(91 - 46);
  });

  it('keeps what is sure and sends the rest, by a cut that the configuration can hold', () => {
    const { records } = queries(100, 2, (sureness) => (sureness > 0.4 ? 1 : 0));
    const { plan, result } = found(records);
    expect(plan.fitting).toHaveLength(0);
    expect(result.bound).toBeLessThanOrEqual(0.1);
    const cut = riskThresholds(plan, result).confidence!;
    expect(Math.exp(cut)).toBeGreaterThan(0.3);
    expect(Math.exp(cut)).toBeLessThan(0.5);
    const sent = records.filter(({ confidence }) => confidence! < cut).length;
    expect(sent).toBe(100 - result.kept);
    expect(riskThresholds(plan, { ...result, cut: Number.POSITIVE_INFINITY })).toMatchObject({ confidence: null });
  });

  it('with more examples chooses the score and its cuts on some, and tests them on the others alone', () => {
    const { records, data } = queries(600, 3, (sureness) => 1 - 0.4 * (1 - sureness) ** 2);
    const { plan, result } = found(records);
    expect(plan.fitting).toHaveLength(200);
    expect(plan.testing).toHaveLength(400);
    expect(new Set([...plan.fitting, ...plan.testing]).size).toBe(600);
    expect(result).toMatchObject({ holds: true, ...keptBy(plan.data, plan.signals[0]!, plan.testing, result.cut) });
    // No label of the testing part has a say in the plan.
    const flipped = records.map((record, i) =>
      plan.testing.includes(i) ? { ...record, edgeCorrect: 1 - record.edgeCorrect } : record,
    );
    const other = planRisk([calibrationData(flipped)], data.all, OPTIONS);
    expect(other.cuts).toEqual(plan.cuts);
    expect(other.weights).toEqual(plan.weights);
    expect(testRisk(other, OPTIONS).holds).toBe(false);
  });

  it('takes the measure of the confidence that tells, where the records have several', () => {
    const { records } = queries(600, 4, (sureness) => (sureness > 0.3 ? 0.99 : 0.2));
    const bad = records.map((record) => ({ ...record, confidence: record.confidences!.margin! }));
    const datas = dataByMeasure(bad, ['margin', 'mean-logprob', 'negative-entropy']);
    expect(datas.map(({ measure }) => measure)).toEqual(['margin', 'mean-logprob']); // the third was not recorded
    expect(planRisk(datas, datas[0]!.all, OPTIONS).measure).toBe('mean-logprob');
  });

  // At 40 draws more than 6 violations have a chance of 0.3 % where one in twenty is promised.
  it.each([
    ['surer is better', 150, (sureness: number) => 1 - 0.7 * (1 - sureness) ** 2],
    ['surer is better, with a part for choosing', 300, (sureness: number) => 1 - 0.7 * (1 - sureness) ** 2],
    ['the surest boast', 150, (sureness: number) => (sureness > 0.95 ? 0.5 : 1 - 0.6 * (1 - sureness) ** 2)],
    ['every cut is a violation', 120, () => 0.899],
    ['every cut is a violation, with a part for choosing', 300, () => 0.899],
  ])('keeps its promise: %s', { tags: 'slow' }, (_, size, rightBy) => {
    const { data, wrong } = queries(600, 5, rightBy);
    const realised = realisedRisk([data], OPTIONS, { times: 40, size, wrong });
    expect(realised.violations).toBeLessThanOrEqual(6);
    expect(realised.violations).toBeLessThanOrEqual(realised.holds);
  });

  it('would break it if the best of all cuts were taken as if it were the only one', { tags: 'slow' }, () => {
    const { data } = queries(3000, 6, () => 0.899);
    const random = createRandom(7);
    let broken = 0;
    for (let t = 0; t < 100; t++) {
      const drawn = Array.from({ length: 300 }, () => random.int(3000));
      const values = drawn.map((i) => data.suspicion.confidence[i]!);
      const passes = (cut: number) =>
        testRisk({ data, signals: ['confidence'], testing: drawn, cuts: [cut] }, OPTIONS).holds;
      if (values.some(passes)) broken++;
    }
    expect(broken).toBeGreaterThan(10);
  });
});
