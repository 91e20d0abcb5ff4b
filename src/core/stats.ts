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
export function bootstrap(
  n: number,
  statistic: (indices: Int32Array) => number,
  { resamples = 2000, seed, level = 0.95 }: BootstrapOptions,
): Interval {
  assert.ok(
    n > 0 && resamples > 0 && level > 0 && level < 1,
    `bootstrap of ${n} items, ${resamples} times, at ${level}`,
  );
  const estimate = statistic(Int32Array.from({ length: n }, (_, i) => i));
  const random = createRandom(seed, 'bootstrap');
  const drawn = new Int32Array(n);
  const values = Float64Array.from({ length: resamples }, () => {
    for (let i = 0; i < n; i++) drawn[i] = random.int(n);
    return statistic(drawn);
  }).filter((value) => !Number.isNaN(value));
  if (values.length === 0) return { estimate, low: Number.NaN, high: Number.NaN };
  values.sort();
  return { estimate, low: quantile(values, (1 - level) / 2), high: quantile(values, (1 + level) / 2) };
}

/** Bootstrap interval of the mean of `values`. */
export function bootstrapInterval(values: ArrayLike<number>, options: BootstrapOptions): Interval {
  return bootstrap(values.length, (indices) => meanAt(values, indices), options);
}

/** Bootstrap interval of mean(a) - mean(b) where a[i] and b[i] were measured on the same item. */
export function bootstrapDifference(a: ArrayLike<number>, b: ArrayLike<number>, options: BootstrapOptions): Interval {
  assert.equal(a.length, b.length, 'bootstrapDifference: the two lists are not of the same items');
  const differences = Float64Array.from({ length: a.length }, (_, i) => a[i]! - b[i]!);
  return bootstrapInterval(differences, options);
}

function meanAt(values: ArrayLike<number>, indices: Int32Array): number {
  let sum = 0;
  for (let i = 0; i < indices.length; i++) sum += values[indices[i]!]!;
  return sum / indices.length;
}
