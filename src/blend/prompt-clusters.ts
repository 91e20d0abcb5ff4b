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
import { oneHot } from '../core/vector.js';
import { sphericalKMeans } from '../pool/kmeans.js';
import { densePoints, type Points, sparsePoints } from '../pool/points.js';
import { SIMILARITY_QUANTILES } from '../pool/pool.js';
import { summaryOf } from '../pool/similarity-summary.js';
import { denseRows, type SparseRows } from '../pool/sparse-rows.js';
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
/** Of what is believed of a file before its numbers are read. */
const [MOST_DIMENSIONS, MOST_CLUSTERS] = [2 ** 21, 4096];

/**
 * Clusters prompts, and says of each what the gate would say of it had it been no member: its cluster, or that it is a stray.
 *
 * @param vectors embeddings of at least k prompts, of length 1; one of zeros belongs to no cluster
 * @returns `gates` (n) over the clusters (k), and last for strays
 */
export function clusterPrompts(
  vectors: SparseRows,
  kind: string,
  { k, seed }: { k: number; seed: number },
): { clusters: PromptClusters; gates: number[][] } {
  const { d } = vectors;
  const points = pointsOf(vectors);
  const { centroids, assignment } = sphericalKMeans(points, { k, seed });
  const sums = new Float64Array(k * d);
  points.accumulate(null, assignment, sums, 1);
  points.dispose();
  const squares = Array.from({ length: k }, (_, c) => squared(sums.subarray(c * d, (c + 1) * d)));
  const near = Array.from(assignment, (c, i) => {
    return withoutItself(vectors, i, sums.subarray(c * d, (c + 1) * d), squares[c]!);
  });
  const clusters = Array.from({ length: k }, (_, c) => {
    const own = near.filter((_, i) => assignment[i] === c).sort((a, b) => a - b);
    return { size: own.length, similarity: summaryOf(own) };
  });
  const made = { centroids, manifest: { N: k, tau: NEAREST, clusters }, embedding: { kind, d } };
  const gates = near.map((similarity, i) => {
    const c = assignment[i]!;
    const isStray = percentileOf(similarity, clusters[c]!.similarity.quantiles) < SIMILARITY_QUANTILES[1];
    return Array.from(oneHot(isStray ? k : c, k + 1));
  });
  return { clusters: made, gates };
}

const squared = (values: ArrayLike<number>) => Array.from(values).reduce((sum, x) => sum + x * x, 0);

/** Cosine of row i with the sum of the other members (d), whose own with this one has that square; 0 where there are none. */
function withoutItself({ offsets, columns, values }: SparseRows, i: number, sum: Float64Array, square: number): number {
  let [product, own] = [0, 0];
  for (let at = offsets[i]!; at < offsets[i + 1]!; at++) {
    product += values[at]! * sum[columns[at]!]!;
    own += values[at]! ** 2;
  }
  const others = square - 2 * product + own;
  const lengths = Math.sqrt(own * Math.max(0, others));
  return lengths < 1e-6 ? 0 : (product - own) / lengths;
}

function pointsOf(rows: SparseRows): Points {
  const isDense = 4 * rows.values.length > rows.n * rows.d;
  return isDense ? densePoints(denseRows(rows), rows.n, rows.d) : sparsePoints(rows);
}

/** @throws CrayonError `write-failed`, `disk-full` */
export function writePromptClusters(path: string, { centroids, manifest, embedding }: PromptClusters): void {
  const { N, clusters } = manifest;
  const { d } = embedding;
  const rows = Array.from({ length: N }, (_, n) => centroids.subarray(n * d, (n + 1) * d));
  const columns = Array.from({ length: d }, (_, j) => j).filter((j) => rows.some((row) => row[j] !== 0));
  const used = Float32Array.from(rows.flatMap((row) => columns.map((j) => row[j]!)));
  const quantiles = Float32Array.from(clusters.flatMap(({ similarity }) => similarity.quantiles));
  const sizes = Float32Array.from(clusters, ({ size }) => size);
  writeSafetensors(
    path,
    [
      // A float32 holds every place of a vocabulary exactly.
      { name: 'columns', dtype: 'F32', shape: [columns.length], data: Float32Array.from(columns) },
      { name: 'centroids', dtype: 'F32', shape: [N, columns.length], data: used },
      { name: 'quantiles', dtype: 'F32', shape: [N, SIMILARITY_QUANTILES.length], data: quantiles },
      {
        name: 'means',
        dtype: 'F32',
        shape: [N],
        data: Float32Array.from(clusters, ({ similarity }) => similarity.mean),
      },
      { name: 'sizes', dtype: 'F32', shape: [N], data: sizes },
    ],
    { format: FORMAT, embedding: embedding.kind, d: String(d) },
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
    const { format, embedding: kind, d: size } = file.metadata;
    if (format !== FORMAT || kind === undefined) throw refuse(`its format is ${format ?? 'not said'}`);
    const d = Number(size);
    if (!Number.isSafeInteger(d) || d < 1 || d > MOST_DIMENSIONS) throw refuse(`its embeddings have ${size} numbers`);
    const [N = 0, m = 0] = file.tensors.get('centroids')?.shape ?? [];
    if (N > MOST_CLUSTERS) throw refuse(`it has ${N} clusters`);
    const tensor = (name: string, shape: number[]) => {
      const found = file.tensors.get(name)?.shape.join(' x ');
      if (found !== shape.join(' x ') || N * m === 0) throw refuse(`tensor ${name} is ${found ?? 'missing'}`);
      const values = file.readF32(name);
      if (!values.every(Number.isFinite)) throw refuse(`tensor ${name} has a value that is not a number`);
      return values;
    };
    const Q = SIMILARITY_QUANTILES.length;
    const columns = tensor('columns', [m]);
    const isPlace = (j: number, at: number) =>
      Number.isInteger(j) && j < d && j >= 0 && (at === 0 || j > columns[at - 1]!);
    if (!columns.every(isPlace)) throw refuse(`its columns are no ascending places below ${d}`);
    const used = tensor('centroids', [N, m]);
    const centroids = new Float32Array(N * d);
    for (const [at, j] of columns.entries()) for (let n = 0; n < N; n++) centroids[n * d + j] = used[n * m + at]!;
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
