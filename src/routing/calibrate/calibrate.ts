/**
 * From held-out answers to thresholds.
 *
 * Which signals are worth having is decided by cross-validation: each set of signals gets its cuts on four fifths of the
 * records and is judged on the rest, by what it gains over sending as many queries at random. Of the sets that are within
 * one standard error of the best (of the paired differences), the one with the fewest signals is taken, because it is easier
 * to read and costs less. The combined signal, the probability of a right answer, is taken only where no set of signals with
 * cuts of their own comes as near. The weights and cuts are then chosen on all records.
 */

import { createRandom } from '../../core/random.js';
import { bootstrap, bootstrapInterval, type Interval, meanAt, standardError } from '../../core/stats.js';
import type { CorrectnessWeights } from '../signals/correctness.js';
import type { SignalName, Thresholds } from '../signals/index.js';
import type { ConfidenceMeasure } from '../signals/signal.js';
import { accuracyCurve, type Curve } from './curve.js';
import { type CalibrationData, type CalibrationRecord, calibrationData, thresholdsOf, toServer } from './data.js';
import { type Combination, combinationsOf, effortOf, fitted, heldOutFolds, heldOutRouting } from './fit.js';
import { meets, type Outcome, outcomeOf, solveCuts, type Target } from './rule.js';

export interface CalibrateOptions {
  target: Target;
  seed: number;
  /** default 5 */
  folds?: number;
  /** default 2000 */
  resamples?: number;
  /** of the intervals; default 0.95 */
  level?: number;
  /** of the records' confidences. Where it is given, the combined signal is tried too; the caller then needs its weights. */
  measure?: ConfidenceMeasure;
}

/** A set of signals, judged on held-out folds. */
export interface Candidate extends Combination {
  /** accuracy above that of random routing with the same share, and its standard error */
  gain: number;
  gainStderr: number;
  share: number;
  accuracy: number;
}

export interface Calibration {
  thresholds: Thresholds;
  /** of the probability of a right answer, where that was chosen */
  correctness: CorrectnessWeights | null;
  signals: SignalName[];
  target: Target;
  /** whether the target is met on the records themselves */
  attained: boolean;
  /** whether the rule gains more than one standard error over random routing, on held-out folds */
  helps: boolean;
  records: number;
  /** on the records that the thresholds were chosen on */
  calibrated: Outcome;
  /** on held-out folds: what to expect of new queries */
  heldOut: { share: Interval; accuracy: Interval; costPer1000: Interval };
  edgeAccuracy: Interval;
  serverAccuracy: Interval;
  /** every set of signals that was tried, best first */
  candidates: Candidate[];
  curve: Curve;
}

const NOTHING: Combination = { signals: [], features: [] };

/** A candidate with where it sent each record when that was held out. */
interface Judged extends Candidate {
  routed: Uint8Array;
  /** (n) accuracy of each record, less what random routing would have gained */
  values: Float64Array;
}

/**
 * Chooses the thresholds for a target.
 *
 * @throws CrayonError `dataset-too-small`, `example-invalid`
 */
export function calibrate(records: readonly CalibrationRecord[], options: CalibrateOptions): Calibration {
  const { target, seed, folds: k = 5, resamples = 2000, level = 0.95, measure } = options;
  const data = calibrationData(records, measure);
  const all = Array.from({ length: data.n }, (_, i) => i);
  const folds = splitFolds(data.n, k, seed);
  const judged = combinationsOf(data, measure !== undefined)
    .map((combination) => judge(data, combination, folds, target))
    .sort((a, b) => b.gain - a.gain);
  const edgeMeets = target.kind === 'accuracy' && meets({ ...outcomeOf(data, all, () => false) }, target);
  // No set at all where no signal was recorded, and none needed where the device alone reaches the accuracy.
  const chosen = edgeMeets || judged.length === 0 ? judge(data, NOTHING, folds, target) : simplest(judged);
  const whole = fitted(data, chosen, all);
  const solution = chosen.signals.length === 0 ? null : solveCuts(whole.data, all, chosen.signals, target);
  const cuts = solution?.cuts ?? {};
  const calibrated = outcomeOf(data, all, (i) => toServer(whole.data, cuts, i));

  const intervals = { seed, resamples, level };
  const heldOut = (pick: keyof Outcome) =>
    bootstrap(data.n, (at) => outcomeOf(data, at, (i) => chosen.routed[i] === 1)[pick], intervals);
  // The curve of no signals would be two points: show what the best set could do.
  const shown = chosen.signals.length > 0 ? chosen : (judged[0] ?? NOTHING);
  return {
    thresholds: thresholdsOf(cuts),
    correctness: cuts.correctness === undefined ? null : whole.weights,
    signals: chosen.signals.filter((name) => cuts[name] !== undefined),
    target,
    attained: meets(calibrated, target),
    helps: chosen.gain > chosen.gainStderr,
    records: data.n,
    calibrated,
    heldOut: { share: heldOut('share'), accuracy: heldOut('accuracy'), costPer1000: heldOut('costPer1000') },
    edgeAccuracy: bootstrapInterval(data.edge, intervals),
    serverAccuracy: bootstrapInterval(data.server, intervals),
    candidates: judged.map(({ routed: _, values: __, ...candidate }) => candidate),
    curve: accuracyCurve(data, shown, folds, intervals),
  };
}

/** The first, by effort and then by gain, that is within one standard error of the best. */
function simplest(judged: readonly Judged[]): Judged {
  const best = judged[0]!;
  const bySize = [...judged].sort((a, b) => effortOf(a) - effortOf(b) || b.gain - a.gain);
  return bySize.find((candidate) => {
    const lead = Array.from(best.values, (value, i) => value - candidate.values[i]!);
    return best.gain - candidate.gain <= standardError(lead);
  })!;
}

/** Chooses this set's weights and cuts on all folds but one and applies them to that one, for each. */
function judge(
  data: CalibrationData,
  { signals, features }: Combination,
  folds: readonly number[][],
  target: Target,
): Judged {
  const held = heldOutFolds(data, { signals, features }, folds);
  const routed = heldOutRouting(held, data.n, signals, target);
  const all = Array.from({ length: data.n }, (_, i) => i);
  const gap = meanAt(data.server, all) - meanAt(data.edge, all);
  const values = Float64Array.from(all, (i) => (routed[i] ? data.server[i]! - gap : data.edge[i]!));
  const edge = meanAt(data.edge, all);
  const { share, accuracy } = outcomeOf(data, all, (i) => routed[i] === 1);
  return {
    signals,
    features,
    gain: meanAt(values, all) - edge,
    gainStderr: gainStderr(data, values),
    share,
    accuracy,
    routed,
    values,
  };
}

/** Standard error of the mean of value - edge: of what routing changes, not of how hard the queries are. */
function gainStderr(data: CalibrationData, values: Float64Array): number {
  return standardError(Array.from(values, (value, i) => value - data.edge[i]!));
}

/** k lists of indices of nearly equal length, by a seeded shuffle. */
export function splitFolds(n: number, k: number, seed: number): number[][] {
  const order = createRandom(seed, 'calibration-folds').shuffle(Array.from({ length: n }, (_, i) => i));
  const folds: number[][] = Array.from({ length: Math.min(k, n) }, () => []);
  for (const [j, i] of order.entries()) folds[j % folds.length]!.push(i);
  return folds;
}
