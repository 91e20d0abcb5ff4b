/**
 * From held-out answers to thresholds.
 *
 * Which signals are worth having is decided by cross-validation: each set of signals gets its cuts on four fifths of the
 * records and is judged on the rest, by what it gains over sending as many queries at random. Of the sets that are within
 * one standard error of the best (of the paired differences), the one with the fewest signals is taken, because it is easier
 * to read and costs less, or another in its place that sends clearly less and is right as often. The combined signal, the probability of a right answer, is taken only where no set of signals with
 * cuts of their own comes as near. The weights and cuts are then chosen on all records.
 *
 * Beside the thresholds stands accuracy against server share, on held-out folds: the result to show of a router, beside
 * sending queries at random and the oracle that knows both answers. Summarised as in RouteLLM (Ong et al. 2024, arXiv
 * 2406.18665): PGR is the part of the gap between device and server that is recovered at a share, APGR its average over
 * shares, here the area under the curve; random routing has one half.
 */

import type { Knots } from '../../core/isotonic.js';
import { createRandom } from '../../core/random.js';
import {
  type BootstrapOptions,
  bootstrap,
  bootstrapInterval,
  type Interval,
  meanAt,
  standardError,
} from '../../core/stats.js';
import type { CorrectnessWeights } from '../signals/correctness.js';
import type { SignalName, Thresholds } from '../signals/index.js';
import type { ConfidenceMeasure } from '../signals/signal.js';
import {
  type CalibrationData,
  type CalibrationRecord,
  calibrationData,
  OF_CLUSTERS,
  thresholdsOf,
  toServer,
} from './data.js';
import {
  COMBINED,
  type Combination,
  combinationsOf,
  effortOf,
  fitted,
  heldOutFolds,
  heldOutRouting,
  OF_SERVER,
} from './fit.js';
import { gainAt, oracleOf } from './hybrid-curve.js';
import { fitMap, likeliest, type Probabilities, probabilitiesOf, withMap } from './probability.js';
import { areaRecovered } from './router-metrics.js';
import { gainAtRandom, meets, type Outcome, outcomeOf, solveCuts, type Target } from './rule.js';

/** The seed is of the folds too. */
export interface CalibrateOptions extends BootstrapOptions {
  target: Target;
  /** default 5 */
  folds?: number;
  /** of the records' confidences. Where it is given, the combined signal is tried too; the caller then needs its weights. */
  measure?: ConfidenceMeasure;
  /** with `measure`: only the combined signal is tried, for a rule that is to be shifted for other users (shift.ts) */
  asProbability?: boolean;
}

/** A set of signals, judged on held-out folds. */
export interface Candidate extends Combination {
  /** accuracy above that of random routing with the same share, or of sending nothing where that is better, and its standard error */
  gain: number;
  gainStderr: number;
  share: number;
  accuracy: number;
}

export interface CurvePoint {
  /** share that the cuts were chosen for on the other folds, and the one that came out on the held-out ones */
  targetShare: number;
  share: number;
  accuracy: Interval;
  /** expected accuracy of sending the same share at random: exact */
  random: number;
  /** the most that any choice of that share could reach */
  oracle: number;
  costPer1000: number;
}

export interface Curve {
  points: CurvePoint[];
  /** null where the server is no more accurate than the device, so that there is no gap to recover */
  apgr: Interval | null;
  oracleApgr: number | null;
}

export interface Calibration {
  thresholds: Thresholds;
  /** of the probability of a right answer, where that was chosen */
  correctness: CorrectnessWeights | null;
  /** that this probability is read off; null where it stands as it is */
  correctnessMap: Knots | null;
  /** how far probabilities may be believed: of the chosen signal, or of the likeliest where plain thresholds were chosen */
  probabilities: Probabilities | null;
  /** rates of the clusters and strays, where what was chosen is made of them: of the device, and of the server */
  success: number[] | null;
  serverSuccess: number[] | null;
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

/** Shares that cuts are chosen for; 0 and 1 are the sources alone. */
const SHARES = Array.from({ length: 21 }, (_, i) => i / 20);

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
  const { target, folds: k = 5, measure, asProbability = false, ...intervals } = options;
  const data = calibrationData(records, measure);
  const { all } = data;
  const folds = splitFolds(data.n, k, intervals.seed);
  const combined = combinationsOf(data, measure !== undefined, true);
  const ways = combined.filter(({ features }) => features.length > 0);
  const judged = (asProbability ? ways : combined)
    .map((combination) => judge(data, combination, folds, target))
    .sort((a, b) => b.gain - a.gain);
  const edgeMeets =
    target.kind === 'accuracy' &&
    meets(
      outcomeOf(data, all, () => false),
      target,
    );
  // No set at all where no signal was recorded, and none needed where the device alone reaches the accuracy.
  const chosen = edgeMeets || judged.length === 0 ? judge(data, NOTHING, folds, target) : simplest(judged);
  const shownWay = chosen.features.length > 0 ? chosen : likeliest(data, ways, folds);
  const probabilities = shownWay === undefined ? null : probabilitiesOf(data, shownWay, folds, intervals);
  const plain = fitted(data, chosen, all);
  const map = chosen.features.length > 0 && probabilities?.map === 'isotonic' ? fitMap(plain.data, all) : null;
  const whole = map === null ? plain : { ...plain, data: withMap(plain.data, map) };
  const solution = chosen.signals.length === 0 ? null : solveCuts(whole.data, all, chosen.signals, target);
  const cuts = solution?.cuts ?? {};
  const usesAny = (names: readonly SignalName[]) => names.some((name) => cuts[name] !== undefined);
  const calibrated = outcomeOf(data, all, (i) => toServer(whole.data, cuts, i));

  const heldOut = (pick: keyof Outcome) =>
    bootstrap(data.n, (at) => outcomeOf(data, at, (i) => chosen.routed[i] === 1)[pick], intervals);
  // The curve of no signals would be two points: show what the best set could do.
  const shown = chosen.signals.length > 0 ? chosen : (judged[0] ?? NOTHING);
  return {
    thresholds: thresholdsOf(cuts),
    correctness: usesAny(COMBINED) ? whole.weights : null,
    correctnessMap: usesAny(COMBINED) ? map : null,
    probabilities,
    success: usesAny([...COMBINED, ...OF_CLUSTERS]) ? whole.rates : null,
    serverSuccess: usesAny(OF_SERVER) ? whole.serverRates : null,
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

/** Shares that differ by less are alike, and so are accuracies. */
const LESS_SENT = 0.1;
const AS_RIGHT = 0.005;

/**
 * The first, by effort and then by gain, that is within one standard error of the best. Of those another one in its place that sends
 * clearly less and is right as often: where the server is no better than the device on the whole, gains do not tell what is sent for
 * nothing.
 */
function simplest(judged: readonly Judged[]): Judged {
  const best = judged[0]!;
  const near = [...judged]
    .sort((a, b) => effortOf(a) - effortOf(b) || b.gain - a.gain)
    .filter((candidate) => {
      const lead = Array.from(best.values, (value, i) => value - candidate.values[i]!);
      return best.gain - candidate.gain <= standardError(lead);
    });
  const first = near[0]!;
  const isThriftier = ({ share, accuracy }: Judged) =>
    share <= first.share - LESS_SENT && accuracy >= first.accuracy - AS_RIGHT;
  return near.find(isThriftier) ?? first;
}

/** Chooses this set's weights and cuts on all folds but one and applies them to that one, for each. */
function judge(
  data: CalibrationData,
  { signals, features }: Combination,
  folds: readonly number[][],
  target: Target,
): Judged {
  const { all } = data;
  const routed = heldOutRouting(heldOutFolds(data, { signals, features }, folds), data.n, signals, target);
  const edge = meanAt(data.edge, all);
  const gap = gainAtRandom(data, all);
  const values = Float64Array.from(all, (i) => (routed[i] ? data.server[i]! - gap : data.edge[i]!));
  const { share, accuracy } = outcomeOf(data, all, (i) => routed[i] === 1);
  return {
    signals,
    features,
    gain: meanAt(values, all) - edge,
    // of what routing changes, not of how hard the queries are
    gainStderr: standardError(all.map((i) => values[i]! - data.edge[i]!)),
    share,
    accuracy,
    routed,
    values,
  };
}

/** k lists of indices of nearly equal length, by a seeded shuffle. */
export function splitFolds(n: number, k: number, seed: number): number[][] {
  const order = createRandom(seed, 'calibration-folds').shuffle([...Array(n).keys()]);
  const folds: number[][] = Array.from({ length: Math.min(k, n) }, () => []);
  for (const [j, i] of order.entries()) folds[j % folds.length]!.push(i);
  return folds;
}

/**
 * The curve of a rule of these signals.
 *
 * @param folds for each record the fold in which it is held out: its source is decided by weights and cuts chosen on the others
 */
function accuracyCurve(
  data: CalibrationData,
  combination: Combination,
  folds: readonly number[][],
  intervals: BootstrapOptions,
): Curve {
  const { all } = data;
  const held = heldOutFolds(data, combination, folds);
  const routed = SHARES.map((share) => {
    if (share === 1) return new Uint8Array(data.n).fill(1);
    const signals = share === 0 ? [] : combination.signals;
    return heldOutRouting(held, data.n, signals, { kind: 'share', value: share });
  });
  const oracle = oracleOf(all.map((i) => ({ edge: data.edge[i]!, server: data.server[i]! })))(
    new Uint16Array(data.n).fill(1),
  );
  const edge = meanAt(data.edge, all);
  const gap = meanAt(data.server, all) - edge;
  const points = SHARES.map((targetShare, k): CurvePoint => {
    const isRouted = (i: number) => routed[k]![i] === 1;
    const { share, costPer1000 } = outcomeOf(data, all, isRouted);
    const accuracy = bootstrap(data.n, (at) => outcomeOf(data, at, isRouted).accuracy, intervals);
    return {
      targetShare,
      share,
      accuracy,
      random: edge + share * gap,
      oracle: edge + gainAt(oracle, share * data.n) / data.n,
      costPer1000,
    };
  });
  if (gap <= 0) return { points, apgr: null, oracleApgr: null };
  return {
    points,
    apgr: bootstrap(data.n, (at) => apgrOf(data, routed, at), intervals),
    oracleApgr: areaRecovered(oracle, gap),
  };
}

/** Average part of the gap that is recovered, over the records at `indices`. NaN where they leave no gap. */
function apgrOf(data: CalibrationData, routed: readonly Uint8Array[], indices: Int32Array): number {
  const knots = routed.map((flags) => {
    let [sent, gain] = [0, 0];
    for (const i of indices) {
      if (flags[i] === 0) continue;
      sent++;
      gain += data.server[i]! - data.edge[i]!;
    }
    return { sent, gain };
  });
  knots.sort((a, b) => a.sent - b.sent);
  const gap = meanAt(data.server, indices) - meanAt(data.edge, indices);
  const curve = { sent: knots.map(({ sent }) => sent), gain: knots.map(({ gain }) => gain) };
  return areaRecovered(curve, gap) ?? Number.NaN;
}
