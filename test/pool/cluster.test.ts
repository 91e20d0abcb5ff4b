/** The silhouette against its slow definition, and the choice of the number of clusters. */

import { describe, expect, it } from 'vitest';
import { clusterPoints, cosineSilhouette } from '../../src/pool/cluster.js';
import { sphericalKMeans } from '../../src/pool/kmeans.js';
import { blobs, dense } from '../helpers/blobs.js';

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
