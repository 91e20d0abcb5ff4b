/**
 * Bootstrap of several statistics at once, drawn within strata: the users of a benchmark are fixed, their test examples are
 * draws. One draw serves every statistic, so whatever is computed of it stays paired by example.
 */

import assert from 'node:assert/strict';
import { createRandom } from '../../core/random.js';
import { type BootstrapOptions, type Interval, quantile } from '../../core/stats.js';

export const DEFAULT_RESAMPLES = 2000;

/**
 * Percentile bootstrap (Efron 1979).
 *
 * @param strata sizes of the consecutive runs of items that are drawn from among themselves
 * @param statistics of the items, each counted `weights[i]` times; NaN where one is not defined for a draw, which then
 *   does not count for that statistic
 * @returns one interval for each statistic, its estimate being the one of the items themselves; NaN ends where no draw had one
 */
export function bootstrapStrata(
  strata: readonly number[],
  statistics: (weights: Int32Array) => number[],
  { resamples = DEFAULT_RESAMPLES, seed, level = 0.95 }: BootstrapOptions,
): Interval[] {
  const n = strata.reduce((a, b) => a + b, 0);
  assert.ok(
    n > 0 && resamples > 0 && level > 0 && level < 1,
    `bootstrap of ${n} items, ${resamples} times, at ${level}`,
  );
  const estimates = statistics(new Int32Array(n).fill(1));
  const random = createRandom(seed, 'bench-bootstrap');
  const weights = new Int32Array(n);
  const drawn = estimates.map(() => new Float64Array(resamples));
  for (let t = 0; t < resamples; t++) {
    weights.fill(0);
    let start = 0;
    for (const size of strata) {
      for (let i = 0; i < size; i++) weights[start + random.int(size)]!++;
      start += size;
    }
    for (const [s, value] of statistics(weights).entries()) drawn[s]![t] = value;
  }
  return estimates.map((estimate, s) => {
    const values = drawn[s]!.filter((value) => !Number.isNaN(value)).sort();
    if (values.length === 0) return { estimate, low: Number.NaN, high: Number.NaN };
    return { estimate, low: quantile(values, (1 - level) / 2), high: quantile(values, (1 + level) / 2) };
  });
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
