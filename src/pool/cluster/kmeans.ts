/**
 * Spherical k-means: unit vectors, cosine similarity, centroids renormalised after every update.
 *
 * Dhillon and Modha, "Concept decompositions for large sparse text data using clustering" (2001); seeding after Arthur
 * and Vassilvitskii, "k-means++" (2007), with the greedy choice among a few candidates that scikit-learn makes.
 * Centroid sums are kept in double precision and only the points that moved are taken from one and added to another.
 */

import { createRandom, type Random } from '../../core/random.js';
import type { Points } from '../points.js';

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

export function sphericalKMeans(points: Points, options: KMeansOptions): Clustering {
  const restarts = options.init === undefined ? (options.restarts ?? 4) : 1;
  let best: Clustering | undefined;
  for (let run = 0; run < restarts; run++) {
    const random = createRandom(options.seed, `kmeans/${options.k}/${run}`);
    const start = options.init ?? plusPlus(points, options.k, random);
    const result = lloyd(points, start, options);
    if (best === undefined || result.objective < best.objective) best = result;
  }
  return best!;
}

function lloyd(points: Points, start: Float32Array, options: KMeansOptions): Clustering {
  const { k, maxIterations = 100, tolerance = 1e-5 } = options;
  const { n, d } = points;
  const centroids = Float32Array.from(start);
  const assignment = new Int32Array(n).fill(-1);
  const nearest = new Float32Array(n); // similarity to the own centroid
  const sums = Array.from({ length: k }, () => new Float64Array(d));
  const sizes = new Array<number>(k).fill(0);
  let objective = Number.POSITIVE_INFINITY;
  let iterations = 0;

  while (iterations < maxIterations) {
    iterations++;
    // 1) assign every point to its most similar centroid
    const found = points.nearest(centroids, k);
    nearest.set(found.similarity);
    let moved = 0;
    let cost = 0;
    for (let i = 0; i < n; i++) {
      const to = found.index[i]!;
      const from = assignment[i]!;
      cost += 1 - nearest[i]!;
      if (to === from) continue;
      moved++;
      assignment[i] = to;
      if (from >= 0) {
        points.accumulate(i, sums[from]!, -1);
        sizes[from]!--;
      }
      points.accumulate(i, sums[to]!, 1);
      sizes[to]!++;
    }
    // 2) give an empty cluster the point that fits its own worst
    for (let c = 0; c < k; c++) {
      if (sizes[c]! > 0) continue;
      const i = worstPoint(nearest, assignment, sizes);
      points.accumulate(i, sums[assignment[i]!]!, -1);
      sizes[assignment[i]!]!--;
      points.accumulate(i, sums[c]!, 1);
      sizes[c] = 1;
      assignment[i] = c;
      nearest[i] = 1;
      moved++;
    }
    // 3) move the centroids
    const gain = objective - cost;
    objective = cost;
    if (moved === 0 || (gain >= 0 && gain <= tolerance * Math.abs(cost))) break;
    for (let c = 0; c < k; c++) setUnit(centroids, c, sums[c]!);
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

function setUnit(centroids: Float32Array, c: number, sum: Float64Array): void {
  let square = 0;
  for (const value of sum) square += value * value;
  const inverse = square > 0 ? 1 / Math.sqrt(square) : 0;
  for (let j = 0; j < sum.length; j++) centroids[c * sum.length + j] = sum[j]! * inverse;
}
