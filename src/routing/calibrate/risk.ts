/**
 * A cut with a guarantee: of the answers that the device keeps, at most a part `risk` is wrong, with confidence 1 - delta over the
 * draw of the held-out examples.
 *
 * For one cut that is Clopper and Pearson's bound over the answers that it keeps. Of many cuts judged by the same answers the
 * best would look better than it is; so they are tested one after another in an order that those answers had no say in, from a
 * strict one on, until the first that fails (fixed-sequence testing; Angelopoulos et al. 2021, "Learn then Test", arXiv
 * 2110.01052), which costs nothing of delta. Geifman and El-Yaniv's SGR (2017, arXiv 1705.08500) shares delta out over a
 * binary search instead.
 *
 * With enough records a random part of them does all that needs a look at the labels: it chooses the score and fits its weights,
 * its scores are the cuts, and it says where to begin. The other part only tests ("split fixed sequence"). Then the
 * guarantee asks nothing but that queries are exchangeable with those that come. With few records nothing is fitted: the score
 * is the confidence, its cuts lie between the records themselves, and the first keeps half of them, or as many as a guarantee takes.
 * Then it asks besides that a looser cut does not bring the risk back under the wanted one.
 */

import { ordering } from '../../core/auroc.js';
import { binomialTail, casesNeeded, upperBound } from '../../core/binomial.js';
import { createRandom } from '../../core/random.js';
import { meanAt } from '../../core/stats.js';
import type { CorrectnessWeights } from '../signals/correctness.js';
import type { SignalName, Thresholds } from '../signals/index.js';
import type { ConfidenceMeasure } from '../signals/signal.js';
import { splitFolds } from './calibrate.js';
import { type CalibrationData, cutBetween, recordsAt, thresholdsOf } from './data.js';
import { type Combination, combinationsOf, effortOf, fitted, heldOutFolds } from './fit.js';

export interface RiskTarget {
  /** the largest part of the kept answers that may be wrong, in (0, 1) */
  risk: number;
  /** how often, over the draw of the examples, that holds at least, in (0, 1) */
  confidence: number;
}

export interface RiskOptions extends RiskTarget {
  /** of the split and of the folds */
  seed: number;
}

/** What a cut of a score keeps on the device, of the records that test it. */
export interface Kept {
  kept: number;
  wrong: number;
}

/** The score and its cuts, decided before the records that test them are looked at. */
export interface RiskPlan extends Combination {
  measure: ConfidenceMeasure;
  /** of the combined signal, and of the clusters, where the score is made of them */
  weights: CorrectnessWeights | null;
  rates: number[] | null;
  data: CalibrationData;
  /** records that chose, and records that test */
  fitting: readonly number[];
  testing: readonly number[];
  /** suspicions up to which the device keeps its answer, ascending; the last may be Infinity */
  cuts: readonly number[];
}

export interface RiskFound extends Kept {
  /** whether any cut is shown to hold; where none is, the rest is of the first that was tried */
  holds: boolean;
  /** Infinity keeps every answer */
  cut: number;
  /** the exact upper bound of the risk */
  bound: number;
}

/** Of the records, for choosing; never more than `MOST_FITTING`: what it takes to fit three weights. */
const FITTING = 1 / 3;
const MOST_FITTING = 200;
/** Records are parted where there are so many times those that a guarantee takes without an error. */
const PARTED_FROM = 5;
/** The first cut has, by the records that chose, a chance to pass by luck of at most this part of the one that is allowed. */
const SAFE = 0.1;
const FOLDS = 5;

/** A score that is between right and wrong is not right. */
const isWrong = (data: CalibrationData, i: number) => data.edge[i]! < 1;

/** Decides the score and the cuts. @param data by each measure of the confidence that may be chosen, the configured one first */
export function planRisk(
  datas: readonly CalibrationData[],
  indices: readonly number[],
  { risk, confidence, seed }: RiskOptions,
): RiskPlan {
  const least = casesNeeded(0, risk, confidence);
  const n = indices.length;
  const plain: Combination = {
    signals: [(['confidence'] as const).find((name) => datas[0]!.available.includes(name)) ?? datas[0]!.available[0]!],
    features: [],
  };
  if (n < PARTED_FROM * least) {
    const whole = { data: datas[0]!, weights: null, rates: null };
    const cuts = cutsOf(whole.data, plain.signals[0]!, indices, Math.max(least, Math.ceil(n / 2)));
    return { ...plain, measure: whole.data.measure, ...whole, fitting: [], testing: indices, cuts };
  }
  const order = createRandom(seed, 'risk-split').shuffle([...indices]);
  const size = Math.min(MOST_FITTING, Math.round(FITTING * n));
  const [fitting, testing] = [order.slice(0, size), order.slice(size)];
  const { data: chosen, combination } = bestOrder(datas, fitting, seed);
  const { serverRates: _, ...whole } = fitted(chosen, combination, fitting);
  const name = combination.signals[0]!;
  const cuts = cutsOf(whole.data, name, fitting, 1);
  const chances = cuts.map((cut) => {
    const { kept, wrong } = keptBy(whole.data, name, fitting, cut);
    const expected = Math.round((kept * testing.length) / size);
    // Half an error more than was seen: of none seen, the cut that keeps the most begins.
    return binomialTail(Math.round((expected * (wrong + 0.5)) / (kept + 1)), expected, risk);
  });
  // The strictest cut that is likely to pass: it is one failure that ends the tests.
  const likely = chances.findIndex((chance) => chance <= (1 - confidence) * SAFE);
  const start = likely >= 0 ? likely : chances.indexOf(Math.min(...chances));
  return { ...combination, measure: chosen.measure, ...whole, fitting, testing, cuts: cuts.slice(start) };
}

/** Tests the cuts of a plan in their order. */
export function testRisk(
  { data, signals, testing, cuts }: Pick<RiskPlan, 'data' | 'signals' | 'testing' | 'cuts'>,
  { risk, confidence }: RiskTarget,
): RiskFound {
  let found: RiskFound | null = null;
  for (const cut of cuts) {
    const { kept, wrong } = keptBy(data, signals[0]!, testing, cut);
    const holds = binomialTail(wrong, kept, risk) <= 1 - confidence;
    if (holds || found === null) found = { holds, cut, kept, wrong, bound: upperBound(wrong, kept, confidence) };
    if (!holds) break;
  }
  return found!;
}

/** Whether answers are wrong as often as is wanted, or oftener, so that no number of such examples would do. */
export function isOften({ kept, wrong }: Kept, { risk }: RiskTarget): boolean {
  return kept > 0 && wrong >= risk * kept;
}

/**
 * How many more examples would have let the first cut pass, had none of them been wrong where the device keeps its answer, or would
 * let it keep the surer half alone; null where the device errs so often that more would not help.
 */
export function examplesMissing(
  { fitting, testing }: RiskPlan,
  { kept, wrong }: Kept,
  target: RiskTarget,
): number | null {
  if (isOften({ kept, wrong }, target)) {
    // So few that the first cut keeps the less sure half too: with twice what it takes, the surer half alone is tested.
    const twice = 2 * casesNeeded(0, target.risk, target.confidence);
    return fitting.length === 0 && testing.length < twice ? twice - testing.length : null;
  }
  const needed = casesNeeded(wrong, target.risk, target.confidence);
  // Few examples: the first cut keeps half of them. Many: a given part.
  if (fitting.length === 0) return (wrong === 0 ? needed : 2 * needed - 1) - testing.length;
  return Math.ceil(((needed - kept) * (fitting.length + testing.length)) / Math.max(kept, 1));
}

/** What the device keeps of these records. */
export function keptBy(data: CalibrationData, name: SignalName, indices: readonly number[], cut: number): Kept {
  let [kept, wrong] = [0, 0];
  for (const i of indices) {
    if (data.suspicion[name][i]! > cut) continue;
    kept++;
    if (isWrong(data, i)) wrong++;
  }
  return { kept, wrong };
}

/** The cuts of a score between these records, from the one on that keeps `least` of them, and at last none at all. */
function cutsOf(data: CalibrationData, name: SignalName, indices: readonly number[], least: number): number[] {
  const values = Float64Array.from(indices, (i) => data.suspicion[name][i]!).sort();
  const cuts: number[] = [];
  for (let k = least; k < values.length; k++) {
    if (values[k - 1]! < values[k]!) cuts.push(cutBetween(name, values[k - 1]!, values[k]!));
  }
  return [...cuts, Number.POSITIVE_INFINITY];
}

/** The score that orders these records best by whether the device is right, weights fitted on other folds; of equals the plainest. */
function bestOrder(datas: readonly CalibrationData[], fitting: readonly number[], seed: number) {
  const folds = splitFolds(fitting.length, FOLDS, seed);
  const right = fitting.map((i) => (isWrong(datas[0]!, i) ? 0 : 1));
  const tried = datas.flatMap((data) => {
    const part = recordsAt(data, fitting);
    const single = combinationsOf(part, true, false).filter(({ signals }) => signals.length === 1);
    return single.map((combination) => {
      const name = combination.signals[0]!;
      const scores = new Float64Array(part.n);
      for (const { held, data: fold } of heldOutFolds(part, combination, folds)) {
        for (const i of held) scores[i] = -fold.suspicion[name][i]!;
      }
      const { auroc } = ordering(scores, right);
      return { data, combination, auroc: Number.isNaN(auroc) ? 0.5 : auroc };
    });
  });
  return tried.sort((a, b) => b.auroc - a.auroc || effortOf(a.combination) - effortOf(b.combination))[0]!;
}

/** The cuts of the configuration: none where every answer is kept. */
export function riskThresholds({ signals }: RiskPlan, { cut }: RiskFound): Thresholds {
  return thresholdsOf(cut === Number.POSITIVE_INFINITY ? {} : { [signals[0]!]: cut });
}

/** What the whole procedure does when it is repeated on other draws. */
export interface Realised {
  times: number;
  /** runs in which a cut was shown to hold */
  holds: number;
  /** runs in which the cut's true risk was above the wanted one */
  violations: number;
  /** means over the runs that hold, of the share that the device keeps and of its true risk */
  keptShare: number;
  risk: number;
}

/**
 * The guarantee put to the test: the records stand for all queries; again and again `size` of them are drawn with replacement,
 * everything is decided anew on those, and the cut is judged on all the records.
 *
 * @param wrong (n) the chance that the device's answer is wrong, where it is known better than by the records
 */
export function realisedRisk(
  datas: readonly CalibrationData[],
  options: RiskOptions,
  { times, size, wrong }: { times: number; size: number; wrong?: ArrayLike<number> },
): Realised {
  const { n, all } = datas[0]!;
  const random = createRandom(options.seed, 'risk-resamples');
  const sums = { holds: 0, violations: 0, keptShare: 0, risk: 0 };
  const sample = Array.from({ length: size }, (_, k) => k);
  for (let t = 0; t < times; t++) {
    const drawn = Array.from(sample, () => random.int(n));
    // Every draw has a label of its own where the chance of it is known: one record drawn twice is then two queries.
    const labels = drawn.map((i) => (wrong === undefined ? datas[0]!.edge[i]! : random.uniform() < wrong[i]! ? 0 : 1));
    const both = datas.map((data) => {
      const joined = recordsAt(data, [...drawn, ...all]);
      joined.edge.set(labels);
      return joined;
    });
    const plan = planRisk(both, sample, { ...options, seed: t });
    const found = testRisk(plan, options);
    if (!found.holds) continue;
    const suspicion = plan.data.suspicion[plan.signals[0]!];
    const kept = all.filter((i) => suspicion[size + i]! <= found.cut);
    const risk = kept.length === 0 ? 0 : meanAt(wrong ?? datas[0]!.edge.map((right) => (right < 1 ? 1 : 0)), kept);
    sums.holds++;
    sums.keptShare += kept.length / n;
    sums.risk += risk;
    if (risk > options.risk + 1e-12) sums.violations++;
  }
  const { holds, violations, keptShare, risk } = sums;
  return { times, holds, violations, keptShare: keptShare / holds, risk: risk / holds };
}
