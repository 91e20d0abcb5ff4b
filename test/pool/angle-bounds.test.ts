/** Bounds must change nothing: after every move of the centroids, the assignment is the first of the largest of all products. */

import { describe, expect, it } from 'vitest';
import { createRandom } from '../../src/core/random.js';
import { AngleBounds } from '../../src/pool/angle-bounds.js';
import type { Points } from '../../src/pool/points.js';
import { type Blobs, blobs, dense, sparse } from '../helpers/blobs.js';

function setUnit(centroids: Float32Array, c: number, values: ArrayLike<number>): void {
  const length = Math.hypot(...Array.from(values));
  for (let j = 0; j < values.length; j++) centroids[c * values.length + j] = length > 0 ? values[j]! / length : 0;
}

/** As Lloyd's algorithm moves them, with a jump of one of them now and then. */
function move(points: Points, assignment: Int32Array, centroids: Float32Array, k: number, step: number): void {
  const { n, d } = points;
  const random = createRandom(step, 'move');
  const sums = new Float64Array(k * d);
  points.accumulate(null, assignment, sums, 1);
  for (let c = 0; c < k; c++) setUnit(centroids, c, sums.subarray(c * d, (c + 1) * d));
  if (step % 5 === 4) centroids.set(points.row(random.int(n)), random.int(k) * d);
  if (step % 9 === 8) centroids.fill(0, d, 2 * d);
}

/** Many points are the same, opposite, or zero. */
function degenerate(n: number, d: number): Blobs {
  const random = createRandom(4, 'degenerate');
  const data = new Float32Array(n * d);
  for (let i = 0; i < n; i++) {
    if (i % 7 > 0) data[i * d + random.int(d)] = i % 2 === 0 ? 1 : -1;
    if (i % 5 > 2) {
      data.fill(0, i * d, (i + 1) * d);
      data[i * d] = Math.SQRT1_2;
      data[i * d + 1 + random.int(d - 1)] = Math.SQRT1_2;
    }
  }
  return { data, n, d, labels: [] };
}

const CASES: Array<[name: string, points: Blobs, k: number]> = [
  ['separate', blobs(8, 60, 24, 0.3), 8],
  ['overlapping', blobs(8, 200, 24, 1.5), 6],
  ['without structure', blobs(1, 1200, 16, 30), 12],
  ['on one side', blobs(1, 1200, 16, 0.2), 10],
  ['so near that products are equal', blobs(1, 600, 32, 1e-4), 5],
  ['two clusters', blobs(2, 500, 8, 0.7), 2],
  ['the same, opposite or zero', degenerate(700, 12), 7],
];

describe('AngleBounds', () => {
  it.each(CASES)('assigns as all products do: %s', (_name, blob, k) => {
    for (const points of [dense(blob), sparse(blob)]) {
      const random = createRandom(0, 'start');
      const centroids = new Float32Array(k * blob.d);
      for (let c = 0; c < k; c++) centroids.set(points.row(random.int(blob.n)), c * blob.d);
      const bounds = new AngleBounds(points, k);
      for (let step = 0; step < 40; step++) {
        const before = Int32Array.from(bounds.assignment);
        const { moved, from, to } = bounds.assign(centroids);
        const similarities = points.similarities(centroids, k);
        let wrong = 0;
        for (let i = 0; i < blob.n; i++) {
          const row = similarities.subarray(i * k, (i + 1) * k);
          if (bounds.assignment[i] !== row.indexOf(Math.max(...row))) wrong++;
        }
        expect(wrong, `step ${step}`).toBe(0);
        moved.forEach((i, m) => {
          expect([from?.[m] ?? -1, to[m]]).toEqual([before[i], bounds.assignment[i]]);
          before[i] = to[m]!;
        });
        expect(before.every((c, i) => c === bounds.assignment[i])).toBe(true);
        // as Lloyd's algorithm fills an empty cluster
        if (step % 11 === 10) bounds.put(step, (bounds.assignment[step]! + 1) % k);
        const old = Float32Array.from(centroids);
        move(points, bounds.assignment, centroids, k, step);
        bounds.drift(old, centroids);
      }
      points.dispose();
    }
  });
});
