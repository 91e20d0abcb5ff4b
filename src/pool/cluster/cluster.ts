/** How many clusters, and which example is in which. */

import { CrayonError } from '../../core/errors.js';
import type { Points } from '../points.js';
import { type Clustering, sphericalKMeans } from './kmeans.js';
import { cosineSilhouette } from './silhouette.js';

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

/** Numbers of clusters that `auto` compares, as far as every cluster can have eight examples on average. */
export const AUTO_CANDIDATES = [2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32];

function candidateCounts(examples: number, clusters: number | 'auto'): number[] {
  return clusters === 'auto' ? AUTO_CANDIDATES.filter((k) => k * 8 <= examples) : [clusters];
}

/** @throws CrayonError `dataset-too-small` when there are fewer examples than clusters, or too few to choose a number */
export function refuseFewExamples(examples: number, clusters: number | 'auto'): void {
  if (clusters !== 'auto' && examples < clusters) {
    throw new CrayonError('dataset-too-small', `${examples} training examples, but ${clusters} clusters`, {
      hint: 'Lower --clusters or give more data: a cluster needs dozens of examples to train an adapter.',
    });
  }
  if (candidateCounts(examples, clusters).length > 0) return;
  throw new CrayonError(
    'dataset-too-small',
    `${examples} training examples are too few to choose a number of clusters`,
    {
      hint: 'Give at least 16 examples, or name --clusters.',
    },
  );
}

/**
 * Spherical k-means with a given N, or the N of the highest silhouette.
 *
 * @throws CrayonError `dataset-too-small`
 */
export function clusterPoints(points: Points, { clusters, seed, onProgress }: ClusterOptions): ClusterResult {
  refuseFewExamples(points.n, clusters);
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
