/** Exact statements about a share from the count of its cases: binomial tails, and the bounds of Clopper and Pearson (1934). */

import assert from 'node:assert/strict';
import { logFactorials } from './stats.js';

/** P(X <= k) of a binomial count X among n, each with chance p. */
export function binomialTail(k: number, n: number, p: number): number {
  if (k >= n || p <= 0) return 1;
  if (p >= 1) return 0;
  const logFactorial = logFactorials(n);
  const [hit, miss] = [Math.log(p), Math.log1p(-p)];
  let sum = 0;
  for (let i = 0; i <= k; i++) {
    sum += Math.exp(logFactorial[n]! - logFactorial[i]! - logFactorial[n - i]! + i * hit + (n - i) * miss);
  }
  return Math.min(sum, 1);
}

/**
 * Clopper and Pearson's one-sided upper bound of a share: the largest chance under which k of n or fewer still happen more
 * often than 1 - confidence. It is exact: whatever the share is, the bound lies under it at most that often.
 */
export function upperBound(k: number, n: number, confidence: number): number {
  assert.ok(k >= 0 && k <= n && confidence > 0 && confidence < 1, `upperBound of ${k} of ${n} at ${confidence}`);
  if (k === n) return 1;
  let [low, high] = [k / n, 1];
  for (let i = 0; i < 60; i++) {
    const middle = (low + high) / 2;
    if (binomialTail(k, n, middle) > 1 - confidence) low = middle;
    else high = middle;
  }
  return high;
}

/** The two-sided interval of Clopper and Pearson: each bound misses with half of what the level leaves. */
export function exactInterval(k: number, n: number, level = 0.95): { low: number; high: number } {
  const each = (1 + level) / 2;
  return { low: 1 - upperBound(n - k, n, each), high: upperBound(k, n, each) };
}

/** The fewest cases, k of them errors, whose upper bound is at most `share`: 29 for none and 46 for one, at 0.1 and 0.95. */
export function casesNeeded(k: number, share: number, confidence: number): number {
  assert.ok(share > 0 && share < 1, `casesNeeded: a share of ${share}`);
  let n = k + 1;
  while (binomialTail(k, n, share) > 1 - confidence) n++;
  return n;
}
