/**
 * How many clusters, which example is in which, and what each holds.
 *
 * Spherical k-means: unit vectors, cosine similarity, centroids renormalised after every update. Dhillon and Modha, "Concept
 * decompositions for large sparse text data using clustering" (2001); seeding after Arthur and Vassilvitskii, "k-means++"
 * (2007), with the greedy choice among a few candidates that scikit-learn makes. Centroid sums are kept in double precision
 * and only the points that moved are taken from one and added to another.
 */

import { CrayonError } from '../core/errors.js';
import { createRandom, type Random } from '../core/random.js';
import { quantile } from '../core/stats.js';
import type { Points } from './points.js';
import { type PoolManifest, SIMILARITY_QUANTILES } from './pool.js';
import type { PreparedExample } from './prepare.js';

export interface ClusterOptions {
  clusters: number | 'auto';
  seed: number;
  onProgress?: (done: number, total: number) => void;
}

export interface ClusterResult extends Clustering {
  silhouette: number;
  /** every N that was tried under `auto`, with its silhouette */
  tried: Array<{ k: number; silhouette: number }>;
}

/** What a pool is made from. */
export type PoolClusters = Pick<ClusterResult, 'k' | 'centroids' | 'assignment' | 'silhouette'>;

/** Numbers of clusters that `auto` compares, as far as every cluster can have eight examples on average. */
const AUTO_CANDIDATES = [2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32];

/**
 * The numbers of clusters to try.
 *
 * @throws CrayonError `dataset-too-small` when there are fewer examples than clusters, or too few to choose a number
 */
export function candidateCounts(examples: number, clusters: number | 'auto'): number[] {
  if (clusters !== 'auto' && examples < clusters) {
    throw new CrayonError('dataset-too-small', `${examples} training examples, but ${clusters} clusters`, {
      hint: 'Lower --clusters or give more data: a cluster needs dozens of examples to train an adapter.',
    });
  }
  const counts = clusters === 'auto' ? AUTO_CANDIDATES.filter((k) => k * 8 <= examples) : [clusters];
  if (counts.length > 0) return counts;
  const found = `${examples} training examples are too few to choose a number of clusters`;
  throw new CrayonError('dataset-too-small', found, { hint: 'Give at least 16 examples, or name --clusters.' });
}

/**
 * Spherical k-means with a given N, or the N of the highest silhouette.
 *
 * @throws CrayonError `dataset-too-small`
 */
export function clusterPoints(points: Points, { clusters, seed, onProgress }: ClusterOptions): ClusterResult {
  const candidates = candidateCounts(points.n, clusters);
  let best: ClusterResult | undefined;
  const tried: ClusterResult['tried'] = [];
  candidates.forEach((k, i) => {
    const clustering = sphericalKMeans(points, { k, seed });
    const silhouette = cosineSilhouette(points, clustering.assignment, k);
    tried.push({ k, silhouette });
    if (best === undefined || silhouette > best.silhouette) best = { ...clustering, silhouette, tried };
    onProgress?.(i + 1, candidates.length);
  });
  return best!;
}

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
  let moved = 0;
  const move = (i: number, to: number): void => {
    const from = assignment[i]!;
    if (from >= 0) {
      points.accumulate(i, sums[from]!, -1);
      sizes[from]!--;
    }
    points.accumulate(i, sums[to]!, 1);
    sizes[to]!++;
    assignment[i] = to;
    moved++;
  };

  while (iterations < maxIterations) {
    iterations++;
    moved = 0;
    // 1) assign every point to its most similar centroid
    const found = points.nearest(centroids, k);
    nearest.set(found.similarity);
    let cost = 0;
    for (let i = 0; i < n; i++) {
      cost += 1 - nearest[i]!;
      if (found.index[i] !== assignment[i]) move(i, found.index[i]!);
    }
    // 2) give an empty cluster the point that fits its own worst
    for (let c = 0; c < k; c++) {
      if (sizes[c]! > 0) continue;
      const i = worstPoint(nearest, assignment, sizes);
      move(i, c);
      nearest[i] = 1;
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

/**
 * Mean silhouette (Rousseeuw 1987) under cosine distance, exact in one pass: the mean distance of a unit vector x to a
 * cluster is 1 - x . (sum of the cluster) / size, so no pair of points is ever compared.
 *
 * @returns in [-1, 1]; points alone in their cluster count as 0, as in scikit-learn. NaN-free: 0 when k is 1.
 */
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
    const home = assignment[i]!;
    if (sizes[home] === 1) continue;
    // The point itself is in its cluster's sum with similarity 1, and at distance 0 from itself.
    const inside = 1 - (towards[i * k + home]! - 1) / (sizes[home]! - 1);
    let outside = Number.POSITIVE_INFINITY;
    for (let c = 0; c < k; c++) {
      if (c !== home && sizes[c]! > 0) outside = Math.min(outside, 1 - towards[i * k + c]! / sizes[c]!);
    }
    const larger = Math.max(inside, outside);
    if (larger > 0) total += (outside - inside) / larger;
  }
  return total / n;
}

export interface DescribeClusters {
  examples: ReadonlyArray<PreparedExample>;
  clustering: PoolClusters;
  /** (n, N) cosine of every example with every centroid */
  similarities: Float32Array;
  /** examples per cluster on which the losses are measured */
  count: number;
  seed: number;
  /** mean loss per completion token of the given examples, with or without the trained mixture */
  lossOf: (members: number[], adapted: boolean) => Promise<number>;
  onProgress: (done: number, total: number) => void;
}

/** The points of every cluster, ascending. */
export function membersOf(assignment: Int32Array, k: number): number[][] {
  const members = Array.from({ length: k }, (): number[] => []);
  for (const [i, c] of assignment.entries()) members[c]!.push(i);
  return members;
}

/** The examples of cluster c on which the losses are measured. */
export function evaluationSample(
  members: readonly number[],
  c: number,
  { seed, count }: Pick<DescribeClusters, 'seed' | 'count'>,
): number[] {
  return createRandom(seed, `evaluate/${c}`)
    .shuffle([...members])
    .slice(0, count);
}

/** What each cluster holds, how tight it is, and what training did for it. */
export async function describeClusters(job: DescribeClusters): Promise<{
  clusters: PoolManifest['clusters'];
  /** the three examples nearest to each centroid, as indices */
  nearest: number[][];
}> {
  const { examples, clustering, similarities } = job;
  const { k } = clustering;
  const clusters: PoolManifest['clusters'] = [];
  const nearest: number[][] = [];
  for (const [c, members] of membersOf(clustering.assignment, k).entries()) {
    const similarityOf = (i: number) => similarities[i * k + c]!;
    const sorted = members.map(similarityOf).sort((a, b) => a - b);
    const closest = [...members].sort((i, j) => similarityOf(j) - similarityOf(i) || i - j).slice(0, 3);
    const tasks = new Map<string, number>(); // named after files, a `constructor.jsonl` among them
    for (const i of members) tasks.set(examples[i]!.dataset, (tasks.get(examples[i]!.dataset) ?? 0) + 1);
    const sample = evaluationSample(members, c, job);
    const measure = (adapted: boolean) => (sample.length === 0 ? Promise.resolve(null) : job.lossOf(sample, adapted));
    clusters.push({
      size: members.length,
      lossBefore: await measure(false),
      lossAfter: await measure(true),
      tasks: Object.fromEntries([...tasks].sort(([, a], [, b]) => b - a)),
      nearest: closest.map((i) => examples[i]!.id),
      similarity: {
        mean: sorted.reduce((a, b) => a + b, 0) / Math.max(1, sorted.length),
        quantiles: SIMILARITY_QUANTILES.map((q) => quantile(sorted, q / 100)),
      },
    });
    nearest.push(closest);
    job.onProgress(c + 1, k);
  }
  return { clusters, nearest };
}
