/** What is gained by changing a random few of many things, some for the better and some for the worse: the exact spread. */

/** How many examples change for the better, for the worse, and not at all, when the server answers. */
export interface GainCounts {
  better: number;
  worse: number;
  same: number;
}

/**
 * Of n examples m are drawn without replacement, so the numbers of better and worse ones
 * among them follow the multivariate hypergeometric distribution. A fraction of a query is the next one with that chance.
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
function logFactorials(n: number): Float64Array {
  if (cachedLogFactorials.length <= n) {
    const table = new Float64Array(n + 1);
    for (let i = 2; i <= n; i++) table[i] = table[i - 1]! + Math.log(i);
    cachedLogFactorials = table;
  }
  return cachedLogFactorials;
}
