/**
 * What calibration chooses among: the staged rule's sets of signals, and the one combined signal, the probability that the
 * device's answer is right, made of few features. Its weights are fitted anew wherever records are held out, on the others
 * only, so that no record is judged by weights that have seen it. So are the rates of clusters.
 */

import { fitLogistic } from '../../core/logistic.js';
import {
  type CorrectnessFeature,
  type CorrectnessWeights,
  correctnessOf,
  FEATURE_SETS,
  featureNamed,
  featureOf,
} from '../signals/correctness.js';
import { recordedSignals, type SignalName } from '../signals/index.js';
import { expectedRate } from '../signals/success.js';
import { clusterRates } from './cluster-rates.js';
import { type CalibrationData, type Cuts, signalOf, toServer } from './data.js';
import { solveCuts, type Target } from './rule.js';

/** One way to route. */
export interface Combination {
  signals: SignalName[];
  /** what `correctness` is made of; empty where it is not among the signals */
  features: CorrectnessFeature[];
}

/** Digits of a weight: it is written into a file for people, and is fitted on some hundred records. */
const DIGITS = 4;

/** @param combined whether the probability of a right answer is tried as well */
export function combinationsOf({ available }: CalibrationData, combined: boolean): Combination[] {
  const staged: Combination[] = [];
  for (let bits = 1; bits < 2 ** available.length; bits++) {
    staged.push({ signals: available.filter((_, i) => bits & (1 << i)), features: [] });
  }
  const possible = FEATURE_SETS.filter((set) => set.every((name) => available.includes(featureNamed(name).signal)));
  return combined
    ? [...staged, ...possible.map((features): Combination => ({ signals: ['correctness'], features }))]
    : staged;
}

/** The staged rule comes first, then the fewest parts: what is simpler to read and cheaper to know. */
export function effortOf({ signals, features }: Combination): number {
  return features.length === 0 ? signals.length : 10 + features.length;
}

/** The data with what is made of the records: the rates of clusters, and the combined signal. */
export interface Fitted {
  data: CalibrationData;
  /** of the combined signal; null where there is none */
  weights: CorrectnessWeights | null;
  /** of the clusters and strays; null where no signal is made of them */
  rates: number[] | null;
}

/** Rates and weights are fitted on the records at `indices`, the weights to the rates of the same records: there are few of these. */
export function fitted(given: CalibrationData, { signals, features }: Combination, indices: readonly number[]): Fitted {
  const { gates } = given;
  let [data, rates]: [CalibrationData, number[] | null] = [given, null];
  if (gates !== null && (signals.includes('success') || features.includes('success'))) {
    const found = clusterRates(
      indices.map((i) => gates[i]!),
      indices.map((i) => given.edge[i]!),
    );
    const toDigits = found.rates.map(rounded);
    const success = Float64Array.from(gates, (alpha) => -expectedRate(toDigits, alpha));
    data = { ...given, suspicion: { ...given.suspicion, success } };
    rates = toDigits;
  }
  if (features.length === 0) return { data, weights: null, rates };
  const rows = indices
    // An answer without a token is wrong without being asked, and no weight can be found for another infinity.
    .filter((i) => signalOf(data, 'confidence', i) !== Number.NEGATIVE_INFINITY)
    .map((i) => ({
      label: data.edge[i]!,
      row: features.map((name) => featureOf(name, data.measure, signalsOf(data, i))),
    }))
    .filter(({ row }) => row.every(Number.isFinite));
  const weights: CorrectnessWeights = { intercept: 0 };
  if (rows.length > 0) {
    const found = fitLogistic(
      rows.map(({ row }) => row),
      rows.map(({ label }) => label),
    );
    weights.intercept = rounded(found.intercept);
    for (const [j, name] of features.entries()) weights[name] = rounded(found.weights[j]!);
  }
  const correctness = Float64Array.from(
    { length: data.n },
    (_, i) => -correctnessOf(weights, data.measure, signalsOf(data, i)),
  );
  return { data: { ...data, suspicion: { ...data.suspicion, correctness } }, weights, rates };
}

function signalsOf(data: CalibrationData, i: number) {
  return { ...recordedSignals((name) => signalOf(data, name, i)), success: signalOf(data, 'success', i) };
}

/** To the digits that are written into a file for people. */
const rounded = (x: number) => Number(x.toPrecision(DIGITS));

/** One fold held out, with the data as the other folds make it. */
export interface HeldOut {
  held: readonly number[];
  others: readonly number[];
  data: CalibrationData;
}

/** The folds of a combination: fitted once, for as many targets as are asked for. */
export function heldOutFolds(data: CalibrationData, combination: Combination, folds: readonly number[][]): HeldOut[] {
  return folds.map((held, k) => {
    const others = folds.flatMap((fold, j) => (j === k ? [] : fold));
    return { held, others, data: fitted(data, combination, others).data };
  });
}

/** 1 where the server answers, for each of n records by weights and cuts that were chosen without it. */
export function heldOutRouting(
  folds: readonly HeldOut[],
  n: number,
  signals: readonly SignalName[],
  target: Target,
): Uint8Array {
  const routed = new Uint8Array(n);
  if (signals.length === 0) return routed;
  for (const { held, others, data } of folds) {
    const cuts: Cuts | undefined = solveCuts(data, others, signals, target)?.cuts;
    for (const i of held) if (cuts !== undefined && toServer(data, cuts, i)) routed[i] = 1;
  }
  return routed;
}
