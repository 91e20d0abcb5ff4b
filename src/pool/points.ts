/**
 * Unit vectors to cluster, dense (hidden states) or sparse (tf-idf), behind one interface.
 *
 * Everything that spherical k-means and the silhouette need of the points is a product with a few dense vectors and a
 * sum, so neither has to know which kind it works on.
 */

import { RowStore, type RowStoreOptions } from '../core/linalg/row-store.js';
import type { SparseRows } from './sparse-rows.js';

export interface Points {
  /** number of points */
  readonly n: number;
  /** size of each */
  readonly d: number;
  /** How far a product with a unit vector may lie from the exact one. */
  readonly rounding: number;
  /** Dot products with k vectors. vectors (k, d) -> (n, k), row-major; of some points, in ascending order, where they are named */
  similarities(vectors: Float32Array, k: number, some?: Int32Array): Float32Array;
  /** Dot products of points, ascending and each as often as one likes, with one of the vectors each: the same numbers as `similarities`. */
  pairs(points: Int32Array | null, columns: Int32Array, vectors: Float32Array): Float32Array;
  /** sums[targets[i]] += sign * point i of the list, or of all. sums (k, d) */
  accumulate(points: Int32Array | null, targets: Int32Array, sums: Float64Array, sign: 1 | -1): void;
  /** point i as a dense vector (d) */
  row(i: number): Float32Array;
  dispose(): void;
}

/** Rows of a dense matrix (n, d), row-major, of which a copy is kept. The number of threads does not change a result. */
export function densePoints(data: Float32Array, n: number, d: number, options: RowStoreOptions = {}): Points {
  const store = new RowStore(data, n, d, options);
  return {
    n,
    d,
    rounding: store.rounding,
    similarities: (vectors, k, some) => store.products(some ?? null, vectors, k),
    pairs: (points, columns, vectors) => store.pairs(points, columns, vectors),
    accumulate: (points, targets, sums, sign) => store.accumulate(points, targets, sums, sign),
    row: (i) => store.row(i),
    dispose: () => store.dispose(),
  };
}

/** Rows in compressed sparse form. */
export function sparsePoints({ n, d, offsets, columns, values }: SparseRows): Points {
  let longest = 0;
  for (let i = 0; i < n; i++) longest = Math.max(longest, offsets[i + 1]! - offsets[i]!);
  /** Column-major copy (d, k): the k values that one nonzero meets then lie side by side. */
  const byColumn = (vectors: Float32Array, k: number): Float32Array => {
    const turned = new Float32Array(d * k);
    for (let c = 0; c < k; c++) for (let j = 0; j < d; j++) turned[j * k + c] = vectors[c * d + j]!;
    return turned;
  };
  return {
    n,
    d,
    rounding: (longest + 2) * 2 ** -24,
    similarities: (vectors, k, some) => {
      const turned = byColumn(vectors, k);
      const count = some?.length ?? n;
      const out = new Float32Array(count * k);
      for (let i = 0; i < count; i++) {
        const point = some?.[i] ?? i;
        for (let at = offsets[point]!; at < offsets[point + 1]!; at++) {
          const from = columns[at]! * k;
          const value = values[at]!;
          for (let c = 0; c < k; c++) out[i * k + c] = out[i * k + c]! + value * turned[from + c]!;
        }
      }
      return out;
    },
    pairs: (points, chosen, vectors) =>
      Float32Array.from(chosen, (c, i) => {
        const point = points?.[i] ?? i;
        let sum = 0;
        for (let at = offsets[point]!; at < offsets[point + 1]!; at++) {
          sum = Math.fround(sum + values[at]! * vectors[c * d + columns[at]!]!);
        }
        return sum;
      }),
    accumulate: (points, targets, sums, sign) => {
      targets.forEach((c, i) => {
        const point = points?.[i] ?? i;
        for (let at = offsets[point]!; at < offsets[point + 1]!; at++) {
          sums[c * d + columns[at]!]! += sign * values[at]!;
        }
      });
    },
    row: (i) => {
      const dense = new Float32Array(d);
      for (let at = offsets[i]!; at < offsets[i + 1]!; at++) dense[columns[at]!] = values[at]!;
      return dense;
    },
    dispose: () => {},
  };
}
