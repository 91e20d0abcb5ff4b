/** Small statistics on plain arrays, and the groups that they are of. */

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
  return estimates.map((estimate, s) => percentileInterval(estimate, values[s]!, level));
}

/** The middle `level` of a statistic's resampled values; those that are not a number are left out. */
export function percentileInterval(estimate: number, values: Float64Array, level = 0.95): Interval {
  const ascending = values.filter((value) => !Number.isNaN(value)).sort();
  if (ascending.length === 0) return { estimate, low: Number.NaN, high: Number.NaN };
  return { estimate, low: quantile(ascending, (1 - level) / 2), high: quantile(ascending, (1 + level) / 2) };
}

const drawnFor = new WeakMap<BootstrapOptions, Map<string, Uint8Array[]>>();

/**
 * The draws of `bootstrapStrata`: how often each item is drawn, in each resample. Drawn once for one options object, so that
 * the many statistics of a report share them.
 */
export function strataWeights(strata: readonly number[], options: BootstrapOptions): readonly Uint8Array[] {
  const known = drawnFor.get(options) ?? new Map<string, Uint8Array[]>();
  drawnFor.set(options, known);
  const key = strata.join();
  const drawn = known.get(key) ?? [];
  if (drawn.length === 0) {
    // The statistic of the data themselves comes first, and is no draw.
    let isDraw = false;
    const keep = (weights: Int32Array) => {
      if (isDraw) drawn.push(Uint8Array.from(weights));
      isDraw = true;
      return [];
    };
    bootstrapStrata(strata, keep, options);
    known.set(key, drawn);
  }
  return drawn;
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

/** How many examples change for the better, for the worse, and not at all, when the server answers. */
export interface GainCounts {
  better: number;
  worse: number;
  same: number;
}

/**
 * What is gained by changing a random few of many things, some for the better and some for the worse: the exact spread.
 *
 * Of n examples m are drawn without replacement, so the numbers of better and worse ones among them follow the multivariate
 * hypergeometric distribution. A fraction of a query is the next one with that chance.
 *
 * @returns the quantiles (1 - level) / 2 and (1 + level) / 2 of the gain in answers, and its mean
 */
export function randomGain(counts: GainCounts, m: number, level: number): { mean: number; low: number; high: number } {
  const { better, worse, same } = counts;
  const n = better + worse + same;
  const whole = Math.min(Math.floor(m + 1e-9), n);
  const part = m - whole > 1e-9 ? m - whole : 0;
  const chance = new Float64Array(better + worse + 1); // of a gain of (index - worse)
  addGainChances(counts, whole, 1 - part, chance);
  if (part > 0) addGainChances(counts, whole + 1, part, chance);
  let low = Number.NaN;
  let high = Number.NaN;
  let cumulative = 0;
  let expected = 0;
  const EPSILON = 1e-12; // of rounding in the sum
  for (const [i, p] of chance.entries()) {
    cumulative += p;
    expected += p * (i - worse);
    if (Number.isNaN(low) && cumulative >= (1 - level) / 2 - EPSILON) low = i - worse;
    if (Number.isNaN(high) && cumulative >= (1 + level) / 2 - EPSILON) high = i - worse;
  }
  return { mean: expected, low, high };
}

/** Adds `share` times P(gain) of m draws to `chance`. */
function addGainChances({ better, worse, same }: GainCounts, m: number, share: number, chance: Float64Array): void {
  const n = better + worse + same;
  const logFactorial = logFactorials(n);
  const logChoose = (a: number, b: number) => logFactorial[a]! - logFactorial[b]! - logFactorial[a - b]!;
  const total = logChoose(n, m);
  const [fromA, toA] = likely(better, n, m);
  const [fromB, toB] = likely(worse, n, m);
  for (let a = fromA; a <= toA; a++) {
    for (let b = fromB; b <= toB; b++) {
      const rest = m - a - b;
      if (rest < 0 || rest > same) continue;
      const p = Math.exp(logChoose(better, a) + logChoose(worse, b) + logChoose(same, rest) - total);
      chance[a - b + worse]! += share * p;
    }
  }
}

/** Range of a hypergeometric count outside of which less than 1e-30 of the chance lies: 12 standard deviations, at least all of 16. */
function likely(marked: number, n: number, m: number): [number, number] {
  const expected = (m * marked) / n;
  const variance = n > 1 ? (expected * (1 - marked / n) * (n - m)) / (n - 1) : 0;
  const reach = 12 * Math.sqrt(variance) + 16;
  return [Math.max(0, Math.floor(expected - reach)), Math.min(marked, m, Math.ceil(expected + reach))];
}

let cachedLogFactorials = new Float64Array(1);

/** ln 0! to ln n! */
export function logFactorials(n: number): Float64Array {
  if (cachedLogFactorials.length <= n) {
    const table = new Float64Array(n + 1);
    for (let i = 2; i <= n; i++) table[i] = table[i - 1]! + Math.log(i);
    cachedLogFactorials = table;
  }
  return cachedLogFactorials;
}

/** Groups by a text made from each item, in the order of first occurrence. */
export function groupBy<T>(items: readonly T[], key: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const name = key(item);
    const group = groups.get(name);
    if (group === undefined) groups.set(name, [item]);
    else group.push(item);
  }
  return groups;
}
