/**
 * Clusters of prompts that were asked, for a router: where a pool's own clusters tell its users apart and call all others strays,
 * clusters of what is really asked tell those apart too. UniRoute (arXiv 2502.08773) counts its rates in clusters of validation
 * prompts likewise. Spherical k-means in the space in which the edge embeds; a prompt belongs to its nearest centroid alone, or is a
 * stray, when it is farther from that than 95 of 100 of the cluster's own (cluster-gate.ts).
 *
 * How near a cluster's own prompts are is measured without each prompt's own share of the centroid: of a few members every one is
 * near what is half made of itself, and new ones would all be strays.
 */

import { CrayonError } from '../core/errors.js';
import { mean, quantile } from '../core/stats.js';
import { norm } from '../core/vector.js';
import { sphericalKMeans } from '../pool/kmeans.js';
import { densePoints, type Points, sparsePoints } from '../pool/points.js';
import { SIMILARITY_QUANTILES } from '../pool/pool.js';
import { SafetensorsFile } from '../safetensors/read.js';
import { writeSafetensors } from '../safetensors/write.js';
import type { ClusterGateParts } from './cluster-gate.js';
import { percentileOf } from './coverage.js';

export interface PromptClusters extends ClusterGateParts {
  centroids: Float32Array;
  /** that they are in: its kind, such as `tfidf`, and its size */
  embedding: { kind: string; d: number };
}

/** So low that the softmax leaves all to the nearest. */
const NEAREST = 1e-3;
const FORMAT = 'crayon-prompt-clusters 1';

/**
 * Clusters prompts, and says of each what the gate would say of it had it been no member: its cluster, or that it is a stray.
 *
 * @param vectors embeddings (d) of at least k prompts; one of zeros belongs to no cluster
 * @returns `gates` (n) over the clusters (k), and last for strays
 */
export function clusterPrompts(
  vectors: readonly Float32Array[],
  kind: string,
  { k, seed }: { k: number; seed: number },
): { clusters: PromptClusters; gates: number[][] } {
  const d = vectors[0]!.length;
  const points = pointsOf(vectors, d);
  const { centroids, assignment } = sphericalKMeans(points, { k, seed });
  const sums = new Float64Array(k * d);
  points.accumulate(null, assignment, sums, 1);
  points.dispose();
  const near = vectors.map((vector, i) =>
    withoutItself(vector, sums.subarray(assignment[i]! * d, (assignment[i]! + 1) * d)),
  );
  const clusters = Array.from({ length: k }, (_, c) => {
    const own = near.filter((_, i) => assignment[i] === c).sort((a, b) => a - b);
    const quantiles = SIMILARITY_QUANTILES.map((q) => (own.length === 0 ? 0 : quantile(own, q / 100)));
    return { size: own.length, similarity: { mean: own.length === 0 ? 0 : mean(own), quantiles } };
  });
  const made = { centroids, manifest: { N: k, tau: NEAREST, clusters }, embedding: { kind, d } };
  const gates = near.map((similarity, i) => {
    const c = assignment[i]!;
    const isStray = percentileOf(similarity, clusters[c]!.similarity.quantiles) < SIMILARITY_QUANTILES[1];
    const alpha = new Array<number>(k + 1).fill(0);
    alpha[isStray ? k : c] = 1;
    return alpha;
  });
  return { clusters: made, gates };
}

/** Cosine with the sum of the other members (d); 0 where there are none. */
function withoutItself(vector: Float32Array, sum: Float64Array): number {
  let [product, squared] = [0, 0];
  for (let j = 0; j < sum.length; j++) {
    const others = sum[j]! - vector[j]!;
    product += vector[j]! * others;
    squared += others * others;
  }
  const lengths = norm(vector) * Math.sqrt(squared);
  return lengths < 1e-9 ? 0 : product / lengths;
}

/** Of a text's tf-idf all but some hundred numbers are zero. */
function pointsOf(vectors: readonly Float32Array[], d: number): Points {
  const n = vectors.length;
  const counts = vectors.map((vector) => vector.reduce((sum, x) => sum + (x === 0 ? 0 : 1), 0));
  const total = counts.reduce((a, b) => a + b, 0);
  if (4 * total > n * d) {
    const data = new Float32Array(n * d);
    for (const [i, vector] of vectors.entries()) data.set(vector, i * d);
    return densePoints(data, n, d);
  }
  const rows = {
    n,
    d,
    offsets: new Int32Array(n + 1),
    columns: new Int32Array(total),
    values: new Float32Array(total),
  };
  let at = 0;
  for (const [i, vector] of vectors.entries()) {
    for (const [j, x] of vector.entries()) {
      if (x === 0) continue;
      rows.columns[at] = j;
      rows.values[at++] = x;
    }
    rows.offsets[i + 1] = at;
  }
  return sparsePoints(rows);
}

/** @throws CrayonError `write-failed`, `disk-full` */
export function writePromptClusters(path: string, { centroids, manifest, embedding }: PromptClusters): void {
  const { N, clusters } = manifest;
  const quantiles = Float32Array.from(clusters.flatMap(({ similarity }) => similarity.quantiles));
  const sizes = Float32Array.from(clusters, ({ size }) => size);
  writeSafetensors(
    path,
    [
      { name: 'centroids', dtype: 'F32', shape: [N, embedding.d], data: centroids },
      { name: 'quantiles', dtype: 'F32', shape: [N, SIMILARITY_QUANTILES.length], data: quantiles },
      {
        name: 'means',
        dtype: 'F32',
        shape: [N],
        data: Float32Array.from(clusters, ({ similarity }) => similarity.mean),
      },
      { name: 'sizes', dtype: 'F32', shape: [N], data: sizes },
    ],
    { format: FORMAT, embedding: embedding.kind },
  );
}

/** @throws CrayonError `config-invalid`, `safetensors-invalid`, `file-not-found` */
export function readPromptClusters(path: string): PromptClusters {
  const file = SafetensorsFile.open(path);
  try {
    const refuse = (what: string) =>
      new CrayonError(
        'config-invalid',
        `${path}: ${what}, expected a file of clusters that \`crayon calibrate\` wrote`,
      );
    const { format, embedding: kind } = file.metadata;
    if (format !== FORMAT || kind === undefined) throw refuse(`its format is ${format ?? 'not said'}`);
    const [N = 0, d = 0] = file.tensors.get('centroids')?.shape ?? [];
    const tensor = (name: string, shape: number[]) => {
      const found = file.tensors.get(name)?.shape.join(' x ');
      if (found !== shape.join(' x ') || N * d === 0) throw refuse(`tensor ${name} is ${found ?? 'missing'}`);
      const values = file.readF32(name);
      if (!values.every(Number.isFinite)) throw refuse(`tensor ${name} has a value that is not a number`);
      return values;
    };
    const Q = SIMILARITY_QUANTILES.length;
    const centroids = tensor('centroids', [N, d]);
    const [quantiles, means] = [tensor('quantiles', [N, Q]), tensor('means', [N])];
    const sizes = tensor('sizes', [N]);
    const clusters = Array.from(means, (average, c) => {
      const own = Array.from(quantiles.subarray(c * Q, (c + 1) * Q));
      if (own.some((x, i) => i > 0 && x < own[i - 1]!)) throw refuse(`the quantiles of cluster ${c} do not rise`);
      return { size: sizes[c]!, similarity: { mean: average, quantiles: own } };
    });
    return { centroids, manifest: { N, tau: NEAREST, clusters }, embedding: { kind, d } };
  } finally {
    file.close();
  }
}
