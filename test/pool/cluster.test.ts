/** Spherical k-means and the silhouette on points whose clusters are known, and against slow definitions. */

import { beforeAll, describe, expect, it } from 'vitest';
import { createRandom } from '../../src/core/random.js';
import { chooseBackend } from '../../src/model/backend.js';
import { clusterPoints, cosineSilhouette, sphericalKMeans } from '../../src/pool/cluster.js';
import { densePoints, type Points, sparsePoints } from '../../src/pool/points.js';

beforeAll(async () => {
  await chooseBackend('wasm');
});

/** `perCluster` unit vectors around each of k random directions of size d. */
function blobs(k: number, perCluster: number, d: number, noise: number, seed = 1) {
  const random = createRandom(seed, 'blobs');
  const directions = Array.from({ length: k }, () => Array.from({ length: d }, () => random.normal()));
  const rows: number[][] = [];
  const labels: number[] = [];
  for (let i = 0; i < k * perCluster; i++) {
    const row = directions[i % k]!.map((x) => x + noise * random.normal());
    const norm = Math.hypot(...row);
    rows.push(row.map((x) => x / norm));
    labels.push(i % k);
  }
  return { data: Float32Array.from(rows.flat()), n: rows.length, d, labels };
}

const dense = ({ data, n, d }: ReturnType<typeof blobs>): Points => densePoints(data, n, d);

function toSparse({ data, n, d }: ReturnType<typeof blobs>): Points {
  const offsets = Int32Array.from({ length: n + 1 }, (_, i) => i * d);
  const columns = Int32Array.from({ length: n * d }, (_, i) => i % d);
  return sparsePoints({ n, d, offsets, columns, values: data });
}

describe('sphericalKMeans', () => {
  it('finds well separated clusters', () => {
    const points = blobs(5, 40, 16, 0.1);
    const { assignment, sizes } = sphericalKMeans(dense(points), { k: 5, seed: 0 });
    expect([...sizes].sort()).toEqual([40, 40, 40, 40, 40]);
    for (let i = 5; i < points.n; i++) expect(assignment[i]).toBe(assignment[i % 5]);
  });

  it('gives the same for the same seed, and for dense and sparse points', () => {
    const points = blobs(4, 30, 12, 0.8);
    const first = sphericalKMeans(dense(points), { k: 6, seed: 3 });
    expect(sphericalKMeans(dense(points), { k: 6, seed: 3 })).toEqual(first);
    expect(sphericalKMeans(toSparse(points), { k: 6, seed: 3 }).assignment).toEqual(first.assignment);
  });

  it('reports the objective and centroids of its assignment', () => {
    const points = blobs(3, 50, 8, 0.5);
    const { k, centroids, assignment, objective } = sphericalKMeans(dense(points), { k: 3, seed: 1, tolerance: 0 });
    const d = points.d;
    const sums = Array.from({ length: k }, () => new Float64Array(d));
    for (let i = 0; i < points.n; i++) {
      for (let j = 0; j < d; j++) sums[assignment[i]!]![j]! += points.data[i * d + j]!;
    }
    let cost = 0;
    sums.forEach((sum, c) => {
      const norm = Math.hypot(...sum);
      for (let j = 0; j < d; j++) expect(centroids[c * d + j]).toBeCloseTo(sum[j]! / norm, 5);
    });
    for (let i = 0; i < points.n; i++) {
      let dot = 0;
      for (let j = 0; j < d; j++) dot += points.data[i * d + j]! * centroids[assignment[i]! * d + j]!;
      cost += 1 - dot;
    }
    expect(objective).toBeCloseTo(cost, 3);
  });

  it('leaves no cluster empty, not even among identical points', () => {
    const { sizes } = sphericalKMeans(densePoints(new Float32Array(20).fill(Math.SQRT1_2), 10, 2), { k: 3, seed: 0 });
    expect(sizes.reduce((a, b) => a + b)).toBe(10);
    expect(Math.min(...sizes)).toBeGreaterThan(0);
  });
});

describe('cosineSilhouette', () => {
  it('equals the definition over all pairs', () => {
    const points = blobs(3, 12, 6, 0.9, 5);
    const { assignment } = sphericalKMeans(dense(points), { k: 4, seed: 2 });
    const { data, n, d } = points;
    const distance = (i: number, j: number) => {
      let dot = 0;
      for (let c = 0; c < d; c++) dot += data[i * d + c]! * data[j * d + c]!;
      return 1 - dot;
    };
    let total = 0;
    for (let i = 0; i < n; i++) {
      const meanTo = (cluster: number) => {
        const others = Array.from({ length: n }, (_, j) => j).filter((j) => j !== i && assignment[j] === cluster);
        return others.reduce((sum, j) => sum + distance(i, j), 0) / others.length;
      };
      const own = assignment[i]!;
      if (assignment.filter((c) => c === own).length === 1) continue;
      const a = meanTo(own);
      const b = Math.min(...[0, 1, 2, 3].filter((c) => c !== own).map(meanTo));
      total += (b - a) / Math.max(a, b);
    }
    expect(cosineSilhouette(dense(points), assignment, 4)).toBeCloseTo(total / n, 5);
  });
});

describe('clusterPoints', () => {
  it('chooses the number of clusters that are there', () => {
    const result = clusterPoints(dense(blobs(6, 30, 16, 0.15)), { clusters: 'auto', seed: 0 });
    expect(result.k).toBe(6);
    expect(result.tried.map((t) => t.k)).toEqual([2, 3, 4, 5, 6, 8, 10, 12, 16, 20]);
  });

  it('refuses more clusters than examples', () => {
    const points = dense(blobs(2, 3, 4, 0.1));
    expect(() => clusterPoints(points, { clusters: 7, seed: 0 })).toThrow(
      expect.objectContaining({ code: 'dataset-too-small' }),
    );
    expect(() => clusterPoints(points, { clusters: 'auto', seed: 0 })).toThrow(
      expect.objectContaining({ code: 'dataset-too-small' }),
    );
  });
});
