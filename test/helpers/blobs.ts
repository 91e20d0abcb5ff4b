/** Unit vectors around known directions, as dense and as sparse points. */

import { createRandom } from '../../src/core/random.js';
import { densePoints, type Points, sparsePoints } from '../../src/pool/points.js';

export interface Blobs {
  data: Float32Array;
  n: number;
  d: number;
  /** direction of each point */
  labels: number[];
}

/** `perCluster` unit vectors around each of k random directions of size d. */
export function blobs(k: number, perCluster: number, d: number, noise: number, seed = 1): Blobs {
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

export const dense = ({ data, n, d }: Blobs): Points => densePoints(data, n, d);

export function sparse({ data, n, d }: Blobs): Points {
  const offsets = Int32Array.from({ length: n + 1 }, (_, i) => i * d);
  const columns = Int32Array.from({ length: n * d }, (_, i) => i % d);
  return sparsePoints({ n, d, offsets, columns, values: data });
}
