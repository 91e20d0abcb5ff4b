/** Mini-batch k-means beside the full one on the same points, stopped at every round, on rows that are kept in any way. */

import { describe, expect, it } from 'vitest';
import { cosineSilhouette } from '../../src/pool/cluster.js';
import { sphericalKMeans } from '../../src/pool/kmeans.js';
import { clusterInBatches, type MiniBatchState, type RowSource, similaritiesOf } from '../../src/pool/mini-batch.js';
import { type Blobs, blobs, dense } from '../helpers/blobs.js';

/** Rows of a matrix, with the most that were asked for at a time. */
function rowsOf({ data, n, d }: Blobs): RowSource & { most: number; read: RowSource['read'] } {
  const source = {
    n,
    d,
    most: 0,
    read: (first: number, count: number, target: Float32Array) => {
      source.most = Math.max(source.most, count);
      target.set(data.subarray(first * d, (first + count) * d));
    },
  };
  return source;
}

const copyOf = ({ sums, costs, ended }: MiniBatchState): MiniBatchState => ({
  sums: sums.slice(),
  costs: costs.slice(),
  ended: ended.slice(),
});

/** Overlapping clusters, more than are looked for: their best division is nothing that any start falls into. */
const HARD = blobs(24, 1250, 16, 0.9);

describe('clusterInBatches', () => {
  it('finds well separated clusters', async () => {
    const points = blobs(6, 1000, 12, 0.15);
    const { sizes, assignment, silhouette } = await clusterInBatches(rowsOf(points), { clusters: 6, seed: 0 });
    expect(sizes).toEqual(Array(6).fill(1000));
    for (let i = 6; i < points.n; i++) expect(assignment[i]).toBe(assignment[i % 6]);
    expect(silhouette).toBeCloseTo(cosineSilhouette(dense(points), assignment, 6), 6); // 6,000 points are all in the sample
  });

  it('comes within a hundredth of the objective of full k-means, and of its silhouette', async () => {
    const full = sphericalKMeans(dense(HARD), { k: 12, seed: 0 });
    const ours = await clusterInBatches(rowsOf(HARD), { clusters: 12, seed: 0 });
    expect(ours.objective).toBeLessThan(1.01 * full.objective);
    expect(ours.silhouette).toBeGreaterThan(cosineSilhouette(dense(HARD), full.assignment, 12) - 0.01);
    const exact = cosineSilhouette(dense(HARD), ours.assignment, 12);
    expect(Math.abs(ours.silhouette - exact)).toBeLessThan(0.01); // of a sample of 16,384 out of 30,000
  });

  it('assigns every point to the nearest of its centroids, and says what that comes to', async () => {
    const { k, centroids, assignment, objective, sizes } = await clusterInBatches(rowsOf(HARD), {
      clusters: 9,
      seed: 3,
    });
    const similarities = dense(HARD).similarities(centroids, k);
    let cost = HARD.n;
    const counted = Array(k).fill(0);
    for (let i = 0; i < HARD.n; i++) {
      const row = similarities.subarray(i * k, (i + 1) * k);
      expect(row[assignment[i]!]).toBe(Math.max(...row));
      cost -= row[assignment[i]!]!;
      counted[assignment[i]!]++;
    }
    expect(objective).toBeCloseTo(cost, 3);
    expect(sizes).toEqual(counted);
    expect(await similaritiesOf(rowsOf(HARD), centroids, k)).toEqual(similarities);
  });

  it('gives the same bytes for a seed, whatever the threads, and others for another', async () => {
    const points = blobs(9, 700, 256, 1.2);
    const of = (seed: number, threads: number) => clusterInBatches(rowsOf(points), { clusters: 5, seed, threads });
    const first = await of(1, 1);
    expect(await of(1, 2)).toEqual(first);
    expect((await of(2, 1)).centroids).not.toEqual(first.centroids);
  });

  it('goes on after any round to the same bytes', async () => {
    const states: MiniBatchState[] = [];
    const keep = (state: MiniBatchState) => {
      states.push(copyOf(state));
    };
    const whole = await clusterInBatches(rowsOf(HARD), { clusters: 12, seed: 0, keep });
    expect(states.length).toBe(whole.iterations + 1);
    for (const state of states) {
      expect(await clusterInBatches(rowsOf(HARD), { clusters: 12, seed: 0, state: copyOf(state) })).toEqual(whole);
    }
  });

  it('holds the sample and a batch of rows, however many there are', async () => {
    const source = rowsOf(HARD);
    await clusterInBatches(source, { clusters: 4, seed: 0 });
    expect(source.most).toBe(4096);
  });

  it('chooses the number of clusters from a sample', async () => {
    const { k } = await clusterInBatches(rowsOf(blobs(6, 3000, 16, 0.15)), { clusters: 'auto', seed: 0 });
    expect(k).toBe(6);
  });

  it('leaves no cluster empty, not even among identical points', async () => {
    const points = { data: new Float32Array(400).fill(Math.SQRT1_2), n: 200, d: 2, labels: [] };
    const { sizes, assignment } = await clusterInBatches(rowsOf(points), { clusters: 7, seed: 0 });
    expect(Math.min(...sizes)).toBe(1);
    expect([...assignment].reduce((counts, c) => counts.with(c, counts[c]! + 1), Array(7).fill(0))).toEqual(sizes);
  });

  it('refuses more clusters than points', async () => {
    const few = rowsOf(blobs(2, 3, 4, 0.1));
    await expect(clusterInBatches(few, { clusters: 7, seed: 0 })).rejects.toMatchObject({ code: 'dataset-too-small' });
  });
});
