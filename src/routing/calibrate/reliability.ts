/**
 * Whether a probability may be believed: of the answers said to be right with chance p, is a part p right? Answers are put in
 * the order of their probability and cut into bins of equal numbers ("equal mass", 15 of them); each bin's share of right
 * answers beside its mean probability is a point of the reliability diagram, and the mean distance between the two, each
 * bin counting by its answers, is the expected calibration error (ECE; Naeini et al. 2015, Guo et al. 2017; equal mass as in
 * Nguyen and O'Connor 2015, which spares bins of two answers).
 *
 * A distance is never negative, so the ECE of a perfect probability is above 0 on any finite number of answers: what it
 * would be on these stands beside it. Brier score and log loss need no bins.
 */

import assert from 'node:assert/strict';
import { exactInterval } from '../../core/binomial.js';
import { type BootstrapOptions, bootstrap, type Interval, mean } from '../../core/stats.js';

/** One point of the reliability diagram. */
export interface ReliabilityBin {
  answers: number;
  /** smallest and largest probability in it */
  from: number;
  to: number;
  /** mean probability */
  predicted: number;
  /** share of right answers, with the exact interval of 95 % */
  observed: Interval;
}

export interface Reliability {
  answers: number;
  /** in the order of their probabilities */
  bins: ReliabilityBin[];
  ece: Interval;
  /** what the ECE would be on average if these probabilities were right */
  eceOfPerfect: number;
  /** mean of (probability - right)^2, and of the negative log-likelihood in nats */
  brier: number;
  logLoss: number;
}

export interface ReliabilityOptions extends BootstrapOptions {
  /** default 15 */
  bins?: number;
}

export const RELIABILITY_BINS = 15;

/** A log loss counts no answer worse than this: a probability of 0 that was wrong would be infinitely bad. */
const LEAST = 1e-6;

/**
 * @param probabilities (n) from 0 to 1, of the answer being right
 * @param labels (n) 1 right, 0 wrong
 */
export function reliability(
  probabilities: ArrayLike<number>,
  labels: ArrayLike<number>,
  { bins: wanted = RELIABILITY_BINS, ...options }: ReliabilityOptions,
): Reliability {
  const n = probabilities.length;
  assert.ok(n > 0 && labels.length === n, `reliability of ${n} probabilities and ${labels.length} labels`);
  assert.ok(!Array.from(probabilities).some(Number.isNaN), 'a probability is not a number');
  const binOf = equalMassBins(probabilities, wanted);
  const bins = Array.from({ length: Math.max(...binOf) + 1 }, (_, b) => {
    const members = [...binOf.keys()].filter((i) => binOf[i] === b);
    const values = members.map((i) => probabilities[i]!);
    const right = members.reduce((sum, i) => sum + labels[i]!, 0);
    const answers = members.length;
    return {
      answers,
      from: Math.min(...values),
      to: Math.max(...values),
      predicted: mean(values),
      observed: { estimate: right / answers, ...exactInterval(right, answers) },
    };
  });
  const distance = (indices: ArrayLike<number>) => {
    const gaps = new Float64Array(bins.length);
    for (let j = 0; j < indices.length; j++) {
      const i = indices[j]!;
      gaps[binOf[i]!]! += probabilities[i]! - labels[i]!;
    }
    return gaps.reduce((sum, gap) => sum + Math.abs(gap), 0) / indices.length;
  };
  const perfect = errorOfPerfect(probabilities, binOf, bins.length);
  return {
    answers: n,
    bins,
    ece: mirrored(bootstrap(n, distance, options), perfect),
    eceOfPerfect: perfect.mean,
    brier: mean(Float64Array.from(labels, (right, i) => (probabilities[i]! - right) ** 2)),
    logLoss: mean(Float64Array.from(labels, (right, i) => logLossOf(probabilities[i]!, right))),
  };
}

/** Negative log-likelihood of one answer, nats. */
export function logLossOf(probability: number, right: number): number {
  const p = Math.min(Math.max(probability, LEAST), 1 - LEAST);
  return -(right * Math.log(p) + (1 - right) * Math.log1p(-p));
}

/** The bin of each value, from 0, at most `wanted` of them: equal numbers in ascending order, but equal values are never parted. */
export function equalMassBins(values: ArrayLike<number>, wanted: number): Int32Array {
  const n = values.length;
  const order = Int32Array.from({ length: n }, (_, i) => i).sort((i, j) => values[i]! - values[j]! || i - j);
  const binOf = new Int32Array(n);
  let [bin, place] = [-1, -1];
  for (let start = 0, end = 1; start < n; start = end, end++) {
    while (end < n && values[order[end]!] === values[order[start]!]) end++;
    // A run of equal values stands where its middle does; places that no run stands at are no bins.
    const at = Math.floor((wanted * (start + end)) / 2 / n);
    if (at > place) bin++;
    place = at;
    for (let k = start; k < end; k++) binOf[order[k]!] = bin;
  }
  return binOf;
}

/**
 * A resample adds its own noise to every distance, so resampled errors lie above the one of the data by about as much as that
 * one lies above the truth. The interval is mirrored at the estimate (the basic bootstrap, Davison and Hinkley 1997), which
 * takes that into account; it holds the estimate, and 0 where a perfect probability would do no better.
 */
function mirrored({ estimate, low, high }: Interval, perfect: { mean: number; deviation: number }): Interval {
  const isPerfect = estimate <= perfect.mean + 1.96 * perfect.deviation;
  return {
    estimate,
    low: isPerfect ? 0 : Math.max(0, 2 * estimate - high),
    high: Math.max(estimate, 2 * estimate - low),
  };
}

/** Each bin's sum of p - right is nearly normal with variance v = sum p (1 - p); its size has mean sqrt(2 v / pi). */
function errorOfPerfect(probabilities: ArrayLike<number>, binOf: Int32Array, bins: number) {
  const variances = new Float64Array(bins);
  for (let i = 0; i < binOf.length; i++) variances[binOf[i]!]! += probabilities[i]! * (1 - probabilities[i]!);
  const sum = variances.reduce((total, v) => total + Math.sqrt((2 * v) / Math.PI), 0);
  const variance = variances.reduce((total, v) => total + v * (1 - 2 / Math.PI), 0);
  return { mean: sum / binOf.length, deviation: Math.sqrt(variance) / binOf.length };
}
