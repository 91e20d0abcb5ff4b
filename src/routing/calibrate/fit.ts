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
  /** what the probability of a right answer is made of; empty where no signal is */
  features: CorrectnessFeature[];
}

/** Signals that are made of the probability of a right answer, and of the rates at which the server is right. */
export const COMBINED = ['correctness', 'gain'] as const satisfies SignalName[];
export const OF_SERVER = ['advantage', 'gain'] as const satisfies SignalName[];

/** Digits of a weight: it is written into a file for people, and is fitted on some hundred records. */
const DIGITS = 4;

/**
 * @param combined whether the probability of a right answer is tried as well
 * @param weighed whether what the server is likely to get right is: it says nothing of how right the device is
 */
export function combinationsOf({ available }: CalibrationData, combined: boolean, weighed: boolean): Combination[] {
  const usable = available.filter((name) => weighed || name !== 'advantage');
  const staged: Combination[] = [];
  for (let bits = 1; bits < 2 ** usable.length; bits++) {
    const signals = usable.filter((_, i) => bits & (1 << i));
    // The advantage has the device's rate in it.
    if (signals.includes('success') && signals.includes('advantage')) continue;
    staged.push({ signals, features: [] });
  }
  if (!combined) return staged;
  const possible = FEATURE_SETS.filter((set) => set.every((name) => available.includes(featureNamed(name).signal)));
  const cut = COMBINED.filter((name) => name !== 'gain' || usable.includes('advantage'));
  return [
    ...staged,
    ...cut.flatMap((name) => possible.map((features): Combination => ({ signals: [name], features }))),
  ];
}

/** The staged rule comes first, then the fewest parts: what is simpler to read and cheaper to know. */
export function effortOf({ signals, features }: Combination): number {
  return features.length === 0 ? signals.length : 10 + features.length + (signals.includes('gain') ? 1 : 0);
}

/** The data with what is made of the records: the rates of clusters, and the combined signals. */
export interface Fitted {
  data: CalibrationData;
  /** of the probability of a right answer; null where there is none */
  weights: CorrectnessWeights | null;
  /** of the clusters and strays, of the device's answers and of the server's; null where no signal is made of them */
  rates: number[] | null;
  serverRates: number[] | null;
}

/** Rates and weights are fitted on the records at `indices`, the weights to the rates of the same records: there are few of these. */
export function fitted(given: CalibrationData, { signals, features }: Combination, indices: readonly number[]): Fitted {
  const weighsServer = OF_SERVER.some((name) => signals.includes(name));
  const weighsDevice = signals.includes('success') || features.includes('success');
  // The advantage, of which a gain is made, is the difference of both.
  const rates = weighsDevice || weighsServer ? ratesOf(given, given.edge, indices) : null;
  const serverRates = weighsServer ? ratesOf(given, given.server, indices) : null;
  let data = given;
  if (rates !== null) data = withSuspicion(data, { success: expected(data, rates).map((rate) => -rate) });
  if (serverRates !== null) {
    const serverRate = expected(data, serverRates);
    const advantage = serverRate.map((rate, i) => rate + data.suspicion.success[i]!);
    data = { ...withSuspicion(data, { advantage }), serverRate };
  }
  if (features.length === 0) return { data, weights: null, rates, serverRates };
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
  const probabilities = Float64Array.from(data.all, (i) => correctnessOf(weights, data.measure, signalsOf(data, i)));
  return { data: withProbabilities(data, probabilities), weights, rates, serverRates };
}

/** The data with these probabilities of a right answer, and what is made of them. */
export function withProbabilities(data: CalibrationData, probabilities: Float64Array): CalibrationData {
  const { serverRate } = data;
  return withSuspicion(data, {
    correctness: probabilities.map((p) => -p),
    ...(serverRate && { gain: serverRate.map((rate, i) => rate - probabilities[i]!) }),
  });
}

function withSuspicion(data: CalibrationData, made: Partial<CalibrationData['suspicion']>): CalibrationData {
  return { ...data, suspicion: { ...data.suspicion, ...made } };
}

/** Counted where the records have gates. */
function ratesOf({ gates }: CalibrationData, right: Float64Array, indices: readonly number[]): number[] | null {
  if (gates === null) return null;
  const { rates } = clusterRates(
    indices.map((i) => gates[i]!),
    indices.map((i) => right[i]!),
  );
  return rates.map(rounded);
}

const expected = ({ gates }: CalibrationData, rates: readonly number[]) =>
  Float64Array.from(gates!, (alpha) => expectedRate(rates, alpha));

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
