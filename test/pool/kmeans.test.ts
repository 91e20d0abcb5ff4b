/** Spherical k-means on points whose clusters are known. */

import { describe, expect, it } from 'vitest';
import { sphericalKMeans } from '../../src/pool/kmeans.js';
import { densePoints, type Points } from '../../src/pool/points.js';
import { blobs, dense, sparse } from '../helpers/blobs.js';

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
    expect(sphericalKMeans(sparse(points), { k: 6, seed: 3 }).assignment).toEqual(first.assignment);
  });

  it('gives the same bytes for any number of threads', () => {
    const { data, n, d } = blobs(9, 1500, 96, 1.2);
    const [one, two] = [1, 2].map((threads) => {
      const points = densePoints(data, n, d, { threads });
      const result = sphericalKMeans(points, { k: 12, seed: 0, restarts: 1, tolerance: 0 });
      points.dispose();
      return result;
    });
    expect(Buffer.compare(Buffer.from(two!.assignment.buffer), Buffer.from(one!.assignment.buffer))).toBe(0);
    expect(two!.centroids).toEqual(one!.centroids);
    expect(two!.objective).toBe(one!.objective);
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

  it('spares most products once centroids hardly move', () => {
    const blob = blobs(16, 250, 32, 1);
    const points = dense(blob);
    let products = 0;
    const counting: Points = {
      ...points,
      similarities: (vectors, k, some) => {
        products += (some?.length ?? points.n) * k;
        return points.similarities(vectors, k, some);
      },
      pairs: (some, columns, vectors) => {
        products += columns.length;
        return points.pairs(some, columns, vectors);
      },
    };
    const init = blob.data.slice(0, 12 * blob.d);
    const { iterations } = sphericalKMeans(counting, { k: 12, seed: 0, init, tolerance: 0 });
    expect(iterations).toBeGreaterThan(8);
    expect(products).toBeLessThan((iterations * points.n * 12) / 2);
  });
});
