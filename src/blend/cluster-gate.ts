/**
 * The gate by which a router counts: alpha(x) over a pool's clusters, and a place beside them for a stray, a query that is farther
 * from its nearest centroid than 95 of 100 of that cluster's own examples. A softmax alone would share it out among the clusters,
 * as if it were a little like each: there the device's answers to it would count, and none of their rates would be of it.
 */

import { gate, similaritiesTo } from '../core/gate.js';
import type { Floats } from '../core/vector.js';
import { SIMILARITY_QUANTILES } from '../pool/pool.js';
import { type ClusterSimilarity, placing } from './coverage.js';

/** What the gate is made of: a pool has it. */
export interface ClusterGateParts {
  /** (N, d) */
  centroids: Floats;
  manifest: { N: number; tau: number; clusters: readonly ClusterSimilarity[] };
}

/** @returns of an embedding (d): the gate over the clusters (N) and 0, or zeros (N) and 1 for a stray */
export function clusterGate({ centroids, manifest }: ClusterGateParts): (q: Floats) => Float64Array {
  const { N, tau, clusters } = manifest;
  const place = placing(clusters);
  return (q) => {
    const similarities = similaritiesTo(q, { data: centroids, n: N, d: q.length });
    const isStray = place(similarities).percentile < SIMILARITY_QUANTILES[1];
    const alpha = new Float64Array(N + 1);
    if (isStray) alpha[N] = 1;
    else alpha.set(gate(similarities, tau));
    return alpha;
  };
}
