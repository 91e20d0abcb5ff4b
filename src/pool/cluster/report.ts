/** What each cluster holds, how tight it is, and what training did for it. */

import { createRandom } from '../../core/random.js';
import { quantile } from '../../core/stats.js';
import { type PoolManifest, SIMILARITY_QUANTILES } from '../pool.js';
import type { PreparedExample } from '../prepare.js';
import type { Clustering } from './kmeans.js';

export interface DescribeClusters {
  examples: ReadonlyArray<PreparedExample>;
  clustering: Clustering;
  /** (n, N) cosine of every example with every centroid */
  similarities: Float32Array;
  /** examples per cluster on which the losses are measured */
  count: number;
  seed: number;
  /** mean loss per completion token of the given examples, with or without the trained mixture */
  lossOf: (members: number[], adapted: boolean) => Promise<number>;
  onProgress: (done: number, total: number) => void;
}

export async function describeClusters(job: DescribeClusters): Promise<{
  clusters: PoolManifest['clusters'];
  /** the three examples nearest to each centroid, as indices */
  nearest: number[][];
}> {
  const { examples, clustering, similarities } = job;
  const { k } = clustering;
  const clusters: PoolManifest['clusters'] = [];
  const nearest: number[][] = [];
  for (let c = 0; c < k; c++) {
    const members = examples.map((_, i) => i).filter((i) => clustering.assignment[i] === c);
    const similarityOf = (i: number) => similarities[i * k + c]!;
    const sorted = members.map(similarityOf).sort((a, b) => a - b);
    const closest = [...members].sort((i, j) => similarityOf(j) - similarityOf(i) || i - j).slice(0, 3);
    const tasks: Record<string, number> = {};
    for (const i of members) tasks[examples[i]!.dataset] = (tasks[examples[i]!.dataset] ?? 0) + 1;
    const sample = createRandom(job.seed, `evaluate/${c}`)
      .shuffle([...members])
      .slice(0, job.count);
    const measure = (adapted: boolean) => (sample.length === 0 ? Promise.resolve(null) : job.lossOf(sample, adapted));
    clusters.push({
      size: members.length,
      lossBefore: await measure(false),
      lossAfter: await measure(true),
      tasks: Object.fromEntries(Object.entries(tasks).sort(([, a], [, b]) => b - a)),
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
