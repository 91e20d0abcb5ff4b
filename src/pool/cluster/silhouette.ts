/**
 * Mean silhouette (Rousseeuw 1987) under cosine distance, exact in one pass: the mean distance of a unit vector x to a
 * cluster is 1 - x . (sum of the cluster) / size, so no pair of points is ever compared.
 */

import type { Points } from '../points.js';

/** In [-1, 1]; points alone in their cluster count as 0, as in scikit-learn. NaN-free: 0 when k is 1. */
export function cosineSilhouette(points: Points, assignment: Int32Array, k: number): number {
  if (k < 2) return 0;
  const { n, d } = points;
  const sizes = new Array<number>(k).fill(0);
  const sums = Array.from({ length: k }, () => new Float64Array(d));
  for (let i = 0; i < n; i++) {
    points.accumulate(i, sums[assignment[i]!]!, 1);
    sizes[assignment[i]!]!++;
  }
  const flat = new Float32Array(k * d);
  sums.forEach((sum, c) => {
    flat.set(sum, c * d);
  });
  const towards = points.similarities(flat, k); // (n, k): x . sum of each cluster

  let total = 0;
  for (let i = 0; i < n; i++) {
    const own = assignment[i]!;
    if (sizes[own] === 1) continue;
    // The point itself is in its cluster's sum with similarity 1, and at distance 0 from itself.
    const inside = 1 - (towards[i * k + own]! - 1) / (sizes[own]! - 1);
    let outside = Number.POSITIVE_INFINITY;
    for (let c = 0; c < k; c++) {
      if (c !== own && sizes[c]! > 0) outside = Math.min(outside, 1 - towards[i * k + c]! / sizes[c]!);
    }
    const larger = Math.max(inside, outside);
    if (larger > 0) total += (outside - inside) / larger;
  }
  return total / n;
}
