/**
 * The rate at which a device answers each cluster's queries right, from held-out answers: the mean of a beta posterior.
 *
 *     r_n = (s r + sum over i of alpha_n(x_i) y_i) / (s + sum over i of alpha_n(x_i)),   r = mean of y_i
 *
 * Each answer counts in a cluster by its gate alpha, and the prior has the overall rate r as its mean, so a cluster without
 * answers has that. Its strength s, in answers, is the one of `STRENGTHS` that finds each answer likeliest when it is left out
 * of the counts.
 */

import assert from 'node:assert/strict';
import { mean } from '../../core/stats.js';
import type { Floats } from '../../core/vector.js';
import { expectedRate } from '../signals/success.js';

/** (n) of each answer its gate, over the same clusters */
export type Gates = ReadonlyArray<Floats | readonly number[]>;

export interface ClusterRates {
  /** of each cluster, and of strays where the gates have a place for them */
  rates: number[];
  /** of the prior, in answers */
  strength: number;
  /** (n) of each answer, left out of the counts in its turn, in nats */
  logLikelihoods: Float64Array;
}

/** Where the clusters tell nothing, the strongest: every rate is then nearly the overall one. */
const STRENGTHS = [1, 2, 4, 8, 16, 32, 64, 128];
/** A probability of 0 would make one answer count for more than all others. */
const LEAST = 1e-3;

/**
 * @param right (n) 1 right, 0 wrong; scores between are understood
 * @param strengths of the prior, of which the likeliest is taken; of equal ones the first
 */
export function clusterRates(
  gates: Gates,
  right: ArrayLike<number>,
  // The weakest prior first: the answers speak for themselves.
  strengths: readonly number[] = STRENGTHS,
): ClusterRates {
  const { weight, hits } = countsOf(gates, right);
  const overall = mean(right);
  const tried = strengths.map((strength) => leftOutLikelihoods(gates, right, { weight, hits, strength }));
  const sums = tried.map((values) => values.reduce((a, b) => a + b, 0));
  const best = sums.indexOf(Math.max(...sums));
  const strength = strengths[best]!;
  const rates = weight.map((w, n) => (strength * overall + hits[n]!) / (strength + w));
  return { rates, strength, logLikelihoods: tried[best]! };
}

/** Each cluster's answers, and how many of them are right. */
function countsOf(gates: Gates, right: ArrayLike<number>) {
  assert.ok(gates.length > 0 && right.length === gates.length, 'one gate for each answer, and at least one answer');
  const weight = new Array<number>(gates[0]!.length).fill(0);
  const hits = [...weight];
  for (const [i, alpha] of gates.entries()) {
    assert.equal(alpha.length, weight.length, 'gates of several pools');
    for (const n of weight.keys()) {
      weight[n]! += alpha[n]!;
      hits[n]! += alpha[n]! * right[i]!;
    }
  }
  return { weight, hits };
}

function leftOutLikelihoods(
  gates: Gates,
  right: ArrayLike<number>,
  { weight, hits, strength }: ReturnType<typeof countsOf> & { strength: number },
): Float64Array {
  const n = gates.length;
  const total = mean(right) * n;
  return Float64Array.from(gates, (alpha, i) => {
    const y = right[i]!;
    const others = n > 1 ? (total - y) / (n - 1) : y;
    const rates = weight.map((w, c) => (strength * others + hits[c]! - alpha[c]! * y) / (strength + w - alpha[c]!));
    const p = Math.min(Math.max(expectedRate(rates, alpha), LEAST), 1 - LEAST);
    return y * Math.log(p) + (1 - y) * Math.log(1 - p);
  });
}
