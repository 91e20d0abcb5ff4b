/**
 * Spherical k-means: unit vectors, cosine similarity, centroids renormalised after every update. Dhillon and Modha, "Concept
 * decompositions for large sparse text data using clustering" (2001); seeding after Arthur and Vassilvitskii, "k-means++"
 * (2007), with the greedy choice among a few candidates that scikit-learn makes. Centroid sums are kept in double precision
 * and only the points that moved are taken from one and added to another.
 *
 * After the first iterations most points can only be where they are, and bounds on their angles say which (src/pool/angle-bounds.ts):
 * what is assigned is what comparing every point with every centroid would assign, to the last tie.
 */

import { createRandom, type Random } from '../core/random.js';
import { AngleBounds } from './angle-bounds.js';
import type { Points } from './points.js';

export interface KMeansOptions {
  k: number;
  seed: number;
  /** runs from different seeds of which the best is kept */
  restarts?: number;
  maxIterations?: number;
  /** stop when the objective gains less than this share of itself */
  tolerance?: number;
  /** first centroids (k, d), unit rows, instead of k-means++ */
  init?: Float32Array;
}

export interface Clustering {
  k: number;
  /** (k, d) unit rows */
  centroids: Float32Array;
  /** (n) cluster of each point */
  assignment: Int32Array;
  /** (k) */
  sizes: number[];
  /** sum over the points of 1 - cos(point, its centroid): what is minimised */
  objective: number;
  iterations: number;
}

/** Objectives of the same clusters lie no farther apart, as a share: sums of float64 in another order. */
const EQUAL = 1e-9;

/** @param points unit rows, or zero ones */
export function sphericalKMeans(points: Points, options: KMeansOptions): Clustering {
  const restarts = options.init === undefined ? (options.restarts ?? 4) : 1;
  let best: Clustering | undefined;
  for (let run = 0; run < restarts; run++) {
    const random = createRandom(options.seed, `kmeans/${options.k}/${run}`);
    const start = options.init ?? plusPlus(points, options.k, random);
    const result = lloyd(points, start, options);
    // Runs that end in the same clusters differ by rounding alone: the first of them is kept.
    if (best === undefined || result.objective < best.objective * (1 - EQUAL)) best = result;
  }
  return best!;
}

function lloyd(points: Points, start: Float32Array, options: KMeansOptions): Clustering {
  const { k, maxIterations = 100, tolerance = 1e-5 } = options;
  const { n, d } = points;
  const centroids = Float32Array.from(start);
  const bounds = new AngleBounds(points, k);
  const { assignment } = bounds;
  const sums = new Float64Array(k * d);
  const sizes = new Array<number>(k).fill(0);
  let objective = Number.POSITIVE_INFINITY;
  let iterations = 0;

  while (iterations < maxIterations) {
    iterations++;
    // 1) assign every point to its most similar centroid
    const { moved, from, to } = bounds.assign(centroids);
    if (from !== null) points.accumulate(moved, from, sums, -1);
    points.accumulate(moved, to, sums, 1);
    from?.forEach((c) => {
      sizes[c]!--;
    });
    to.forEach((c) => {
      sizes[c]!++;
    });
    // The similarities' sum, cluster by cluster: x . c over a cluster's points is the product of their sum with c.
    let cost = n;
    for (let at = 0; at < sums.length; at++) cost -= sums[at]! * centroids[at]!;
    // 2) give an empty cluster the point that fits its own worst
    let filled = 0;
    for (let c = 0; c < k; c++) {
      if (sizes[c]! > 0) continue;
      const i = worstPoint(points.pairs(null, assignment, centroids), assignment, sizes);
      const home = assignment[i]!;
      points.accumulate(Int32Array.of(i), Int32Array.of(home), sums, -1);
      points.accumulate(Int32Array.of(i), Int32Array.of(c), sums, 1);
      sizes[home]!--;
      sizes[c]!++;
      bounds.put(i, c);
      filled++;
    }
    // 3) move the centroids
    const gain = objective - cost;
    objective = cost;
    if (moved.length + filled === 0 || (gain >= 0 && gain <= tolerance * Math.abs(cost))) break;
    const before = Float32Array.from(centroids);
    for (let c = 0; c < k; c++) setUnit(centroids, c, sums.subarray(c * d, (c + 1) * d));
    bounds.drift(before, centroids);
  }
  return { k, centroids, assignment, sizes, objective, iterations };
}

/** Greedy k-means++: the next centroid is the best of a few points drawn in proportion to their distance. */
function plusPlus(points: Points, k: number, random: Random): Float32Array {
  const { n, d } = points;
  const candidates = 2 + Math.floor(Math.log(k));
  const centroids = new Float32Array(k * d);
  const first = random.int(n);
  centroids.set(points.row(first), 0);
  let distance = Float64Array.from(points.similarities(points.row(first), 1), (s) => Math.max(0, 1 - s));
  for (let c = 1; c < k; c++) {
    const total = distance.reduce((a, b) => a + b, 0);
    const drawn = Array.from({ length: candidates }, () => drawByWeight(distance, total, random));
    const rows = new Float32Array(candidates * d);
    drawn.forEach((i, j) => {
      rows.set(points.row(i), j * d);
    });
    const similarity = points.similarities(rows, candidates);
    const totals = new Float64Array(candidates);
    for (let i = 0; i < n; i++) {
      for (let j = 0; j < candidates; j++) {
        totals[j] = totals[j]! + Math.min(distance[i]!, Math.max(0, 1 - similarity[i * candidates + j]!));
      }
    }
    const chosen = totals.indexOf(Math.min(...totals));
    centroids.set(rows.subarray(chosen * d, (chosen + 1) * d), c * d);
    distance = distance.map((dist, i) => Math.min(dist, Math.max(0, 1 - similarity[i * candidates + chosen]!)));
  }
  return centroids;
}

function drawByWeight(weights: Float64Array, total: number, random: Random): number {
  let left = random.uniform() * total;
  for (let i = 0; i < weights.length; i++) {
    left -= weights[i]!;
    if (left < 0) return i;
  }
  return random.int(weights.length); // all weights zero: every point is already a centroid
}

function worstPoint(nearest: Float32Array, assignment: Int32Array, sizes: number[]): number {
  let worst = -1;
  for (let i = 0; i < nearest.length; i++) {
    if (sizes[assignment[i]!]! < 2) continue;
    if (worst < 0 || nearest[i]! < nearest[worst]!) worst = i;
  }
  return worst;
}

/** centroids[c] = sum / |sum|; zeros where the sum has no direction */
export function setUnit(centroids: Float32Array, c: number, sum: Float64Array): void {
  let square = 0;
  for (const value of sum) square += value * value;
  const inverse = square > 0 ? 1 / Math.sqrt(square) : 0;
  for (let j = 0; j < sum.length; j++) centroids[c * sum.length + j] = sum[j]! * inverse;
}
