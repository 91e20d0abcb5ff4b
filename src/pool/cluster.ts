/** How many clusters, which example is in which, and what each holds. */

import { CrayonError } from '../core/errors.js';
import { createRandom } from '../core/random.js';
import { type Clustering, sphericalKMeans } from './kmeans.js';
import type { Points } from './points.js';
import type { PoolManifest } from './pool.js';
import type { PreparedExample } from './prepare.js';
import { summaryOf } from './similarity-summary.js';

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
export interface PoolClusters extends Pick<ClusterResult, 'k' | 'centroids' | 'assignment' | 'silhouette'> {
  /** found in mini-batches, the silhouette of a sample (mini-batch.ts) */
  inBatches?: boolean;
}

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

/**
 * Mean silhouette (Rousseeuw 1987) under cosine distance, exact in one pass: the mean distance of a unit vector x to a
 * cluster is 1 - x . (sum of the cluster) / size, so no pair of points is ever compared.
 *
 * @returns in [-1, 1]; points alone in their cluster count as 0, as in scikit-learn. NaN-free: 0 when k is 1.
 */
export function cosineSilhouette(points: Points, assignment: Int32Array, k: number): number {
  if (k < 2) return 0;
  const sizes = new Array<number>(k).fill(0);
  const sums = new Float64Array(k * points.d);
  points.accumulate(null, assignment, sums, 1);
  for (const c of assignment) sizes[c]!++;
  return meanSilhouette(points.similarities(Float32Array.from(sums), k), assignment, sizes);
}

/**
 * Likewise of some points, each with whole clusters.
 *
 * @param towards (points, k) products of each with the sum of every cluster
 * @param homes (points) the cluster of each, in whose sum it is
 * @param sizes (k)
 */
export function meanSilhouette(towards: Float32Array, homes: Int32Array, sizes: readonly number[]): number {
  const k = sizes.length;
  let total = 0;
  for (const [i, home] of homes.entries()) {
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
  return total / homes.length;
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
      similarity: summaryOf(sorted),
    });
    nearest.push(closest);
    job.onProgress(c + 1, k);
  }
  return { clusters, nearest };
}
