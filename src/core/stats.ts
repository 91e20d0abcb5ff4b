/** Small statistics on plain arrays. */

import assert from 'node:assert/strict';
import { createRandom } from './random.js';

/** Quantile q in [0, 1] of ascending numbers, interpolated linearly (numpy's default). 0 for an empty array. */
export function quantile(ascending: ArrayLike<number>, q: number): number {
  if (ascending.length === 0) return 0;
  const at = q * (ascending.length - 1);
  const low = Math.floor(at);
  const high = Math.min(low + 1, ascending.length - 1);
  return ascending[low]! + (at - low) * (ascending[high]! - ascending[low]!);
}

/** Standard error of the mean: sample standard deviation / sqrt(n). NaN for fewer than two values. */
export function standardError(values: readonly number[]): number {
  const n = values.length;
  const centre = mean(values);
  const variance = values.reduce((sum, v) => sum + (v - centre) ** 2, 0) / (n - 1);
  return Math.sqrt(variance / n);
}

/** Arithmetic mean. NaN for an empty array. */
export function mean(values: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i]!;
  return sum / values.length;
}

export const DEFAULT_RESAMPLES = 2000;

export interface BootstrapOptions {
  /** default 2000 */
  resamples?: number;
  seed: number;
  /** share of the resampled estimates inside the interval, in (0, 1); default 0.95 */
  level?: number;
}

export interface Interval {
  /** the statistic of the data themselves */
  estimate: number;
  low: number;
  high: number;
}

/**
 * Percentile bootstrap (Efron 1979) of any statistic of n independent items: items are drawn with replacement, and the
 * interval holds the middle `level` of the statistic's values. Draws whose statistic is not a number (a ratio with an
 * empty denominator) are left out. With fewer than about 20 items such intervals are too narrow.
 *
 * @param statistic of the items with these indices; one index may come several times
 */
export function bootstrap(n: number, statistic: (indices: Int32Array) => number, options: BootstrapOptions): Interval {
  return resample([n], (indices) => [statistic(indices)], options, 'bootstrap')[0]!;
}

/**
 * Bootstrap of several statistics at once, drawn within strata: the users of a benchmark are fixed, their test examples are
 * draws. One draw serves every statistic, so whatever is computed of it stays paired by item.
 *
 * @param strata sizes of the consecutive runs of items that are drawn from among themselves
 * @param statistics of the items, each counted `weights[i]` times
 * @returns one interval for each statistic
 */
export function bootstrapStrata(
  strata: readonly number[],
  statistics: (weights: Int32Array) => number[],
  options: BootstrapOptions,
): Interval[] {
  const weights = new Int32Array(strata.reduce((a, b) => a + b, 0));
  const counted = (indices: Int32Array) => {
    weights.fill(0);
    for (const i of indices) weights[i]!++;
    return statistics(weights);
  };
  return resample(strata, counted, options, 'bench-bootstrap');
}

/** @param stream of random numbers: the draws of the two kinds are independent of each other */
function resample(
  strata: readonly number[],
  statistics: (indices: Int32Array) => number[],
  { resamples = DEFAULT_RESAMPLES, seed, level = 0.95 }: BootstrapOptions,
  stream: string,
): Interval[] {
  const n = strata.reduce((a, b) => a + b, 0);
  assert.ok(
    n > 0 && resamples > 0 && level > 0 && level < 1,
    `bootstrap of ${n} items, ${resamples} times, at ${level}`,
  );
  const estimates = statistics(Int32Array.from({ length: n }, (_, i) => i));
  const random = createRandom(seed, stream);
  const drawn = new Int32Array(n);
  const values = estimates.map(() => new Float64Array(resamples));
  for (let t = 0; t < resamples; t++) {
    let start = 0;
    for (const size of strata) {
      for (let i = 0; i < size; i++) drawn[start + i] = start + random.int(size);
      start += size;
    }
    for (const [s, value] of statistics(drawn).entries()) values[s]![t] = value;
  }
  return estimates.map((estimate, s) => {
    const ascending = values[s]!.filter((value) => !Number.isNaN(value)).sort();
    if (ascending.length === 0) return { estimate, low: Number.NaN, high: Number.NaN };
    return { estimate, low: quantile(ascending, (1 - level) / 2), high: quantile(ascending, (1 + level) / 2) };
  });
}

/** Bootstrap interval of the mean of `values`. */
export function bootstrapInterval(values: ArrayLike<number>, options: BootstrapOptions): Interval {
  return bootstrap(values.length, (indices) => meanAt(values, indices), options);
}

/** Mean of the values at these indices; NaN for none. */
export function meanAt(values: ArrayLike<number>, indices: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < indices.length; i++) sum += values[indices[i]!]!;
  return sum / indices.length;
}

/**
 * Mean over strata of the mean within each, with its interval: every user counts alike, whatever the size of its test.
 *
 * @param strata values of each stratum; empty ones are a defect of the caller
 */
export function meanOverStrata(strata: ReadonlyArray<readonly number[]>, options: BootstrapOptions): Interval {
  const values = strata.flat();
  assert.ok(
    strata.every((s) => s.length > 0),
    'meanOverStrata: a stratum is empty',
  );
  const statistic = (weights: Int32Array): number[] => {
    let total = 0;
    let at = 0;
    for (const { length } of strata) {
      let sum = 0;
      for (let i = 0; i < length; i++, at++) sum += weights[at]! * values[at]!;
      total += sum / length;
    }
    return [total / strata.length];
  };
  return bootstrapStrata(
    strata.map((s) => s.length),
    statistic,
    options,
  )[0]!;
}
