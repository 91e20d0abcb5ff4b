/** How near a cluster's own prompts are to it: what says whether another one is a stray. */

import { quantile } from '../core/stats.js';
import { type PoolCluster, SIMILARITY_QUANTILES } from './pool.js';

/** @param ascending cosines of the members with the centroid; all zero where there are none */
export function summaryOf(ascending: readonly number[]): PoolCluster['similarity'] {
  return {
    mean: ascending.reduce((a, b) => a + b, 0) / Math.max(1, ascending.length),
    quantiles: SIMILARITY_QUANTILES.map((q) => quantile(ascending, q / 100)),
  };
}
