/** The picture of a pool's clusters. */

import { describe, expect, it } from 'vitest';
import { clusterMap, principalDirections } from '../../src/bench/pool-space.js';
import { meanRows } from '../../src/core/vector.js';
import type { Pool } from '../../src/pool/pool.js';

describe('principalDirections', () => {
  it('finds the axes of points along two of them', () => {
    const rows = Float32Array.from([...[5, 0, 0], ...[-5, 0, 0], ...[0, 0, 2], ...[0, 0, -2]].map((x) => x + 1));
    const [first, second] = principalDirections(rows, 4, 3, meanRows(rows, 4, 3));
    expect([...first].map(Math.abs)).toEqual([1, 0, 0].map((x) => expect.closeTo(x, 6)));
    expect([...second].map(Math.abs)).toEqual([0, 0, 1].map((x) => expect.closeTo(x, 6)));
  });

  it('draws each point in the cluster of its nearest centroid', () => {
    const centroids = Float32Array.of(1, 0, 0, 1);
    const pool = { centroids, manifest: { N: 2, embedding: { dim: 2 } } } as unknown as Pool;
    const rows = Float32Array.of(0.8, 0.6, 0, 1);
    const map = clusterMap(rows, ['a', 'b'], pool);
    expect(map.points.map(({ cluster, task }) => [cluster, task])).toEqual([
      [0, 'a'],
      [1, 'b'],
    ]);
    expect(map.centroids).toHaveLength(2);
  });
});
