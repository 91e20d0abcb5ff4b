/**
 * How often the device is right about queries like this one, known before any work: each cluster of the pool has a rate, and a
 * query's is their mean by its gate,
 *
 *     P(right | x) = sum over n of alpha_n(x) r_n,   alpha(x) = softmax_n( cos(q(x), c_n) / tau ).
 *
 * Beside the N clusters there is a place for strays, queries of none of them (blend/cluster-gate.ts). The rates are N + 1 numbers
 * of what the device serves, counted by calibrate/cluster-rates.ts; nothing in them is of one user, so they hold for a new one
 * whose queries come from the same clusters. UniRoute (arXiv 2502.08773) and the Avengers (arXiv 2505.19797) route by such rates.
 */

import * as z from 'zod';
import { argmax, type Floats } from '../../core/vector.js';
import type { Query } from '../../engine/types.js';
import { MOST_CERTAIN, type Signal } from './signal.js';

const RATE = 'a rate from 0 to 1';

export const success = {
  name: 'success',
  description:
    "Rate at which the device answers the queries of the prompt's clusters right, 0 to 1: below it, the server. Needs routing.success and a pool.",
  stage: 'before-work',
  toServer: 'below',
  threshold: z.number(RATE).min(0, RATE).max(1, RATE),
  madeOf: ({ success: rates }) => (rates ? [] : null),
  read: ({ config, clusters }) => {
    const alpha = clusters?.() ?? null;
    return alpha && { success: expectedRate(config.success!, alpha), cluster: argmax(alpha) };
  },
  also: { cluster: 'the nearest cluster, from 0; their number for a stray' },
  title: 'success rate',
  unit: () => "of the device in the prompt's clusters",
  doubt: 'the device is seldom right about such queries',
  meaning: (cut) => `in its clusters the device is right less often than ${cut}`,
  sendsAll: 1,
  features: { success: (rate: number) => rate },
} as const satisfies Signal;

/** Asks for a query's gate over the clusters of the pool and, last, for strays (N + 1); null where there is no pool. */
export type ClusterFunction = (query: Query) => Floats | null;

/** The mean of rates by a query's gate, which sums to 1. Keeps a NaN. */
export function expectedRate(rates: ArrayLike<number>, alpha: Floats | readonly number[]): number {
  let sum = 0;
  for (let n = 0; n < alpha.length; n++) sum += alpha[n]! * rates[n]!;
  return Math.min(sum, MOST_CERTAIN);
}

/** A gate as records keep it: rates are counted from some hundred of them, and need no more digits. */
export function recordedGate(alpha: Floats): number[] {
  return Array.from(alpha, (a) => Number(a.toFixed(4)));
}
