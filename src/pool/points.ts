/**
 * Unit vectors to cluster, dense (hidden states) or sparse (tf-idf), behind one interface.
 *
 * Everything that spherical k-means and the silhouette need of the points is a product with a small dense matrix and a
 * running sum, so neither has to know which kind it works on.
 */

import * as tf from '@tensorflow/tfjs-core';
import type { SparseRows } from './embed/kind.js';

export interface Points {
  /** number of points */
  readonly n: number;
  /** size of each */
  readonly d: number;
  /** Dot products with k vectors. vectors (k, d) -> (n, k), row-major */
  similarities(vectors: Float32Array, k: number): Float32Array;
  /** The most similar of k vectors for each point, the first of equals. vectors (k, d) -> (n) and (n) */
  nearest(vectors: Float32Array, k: number): { index: Int32Array; similarity: Float32Array };
  /** sum += sign * point i. sum (d) */
  accumulate(i: number, sum: Float64Array, sign: 1 | -1): void;
  /** point i as a dense vector (d) */
  row(i: number): Float32Array;
  dispose(): void;
}

/** Rows of a dense matrix (n, d), row-major; products run on the tfjs back end. */
export function densePoints(data: Float32Array, n: number, d: number): Points {
  const matrix = tf.tensor2d(data, [n, d]);
  return {
    n,
    d,
    similarities: (vectors, k) => {
      const product = tf.tidy(() => tf.matMul(matrix, tf.tensor2d(vectors, [k, d]), false, true));
      const values = product.dataSync<'float32'>();
      product.dispose();
      return values as Float32Array;
    },
    nearest: (vectors, k) => {
      // Reduced on the back end: reading back (n, k) numbers would cost more than the product itself.
      const { index, similarity } = tf.tidy(() => {
        const product = tf.matMul(matrix, tf.tensor2d(vectors, [k, d]), false, true);
        return { index: tf.argMax(product, 1) as tf.Tensor1D, similarity: tf.max(product, 1) as tf.Tensor1D };
      });
      const found = { index: index.dataSync<'int32'>(), similarity: similarity.dataSync<'float32'>() };
      tf.dispose([index, similarity]);
      return found as { index: Int32Array; similarity: Float32Array };
    },
    accumulate: (i, sum, sign) => {
      const from = i * d;
      for (let j = 0; j < d; j++) sum[j] = sum[j]! + sign * data[from + j]!;
    },
    row: (i) => data.slice(i * d, (i + 1) * d),
    dispose: () => matrix.dispose(),
  };
}

/** Rows in compressed sparse form. */
export function sparsePoints({ n, d, offsets, columns, values }: SparseRows): Points {
  /** Column-major copy (d, k): the k values that one nonzero meets then lie side by side. */
  const byColumn = (vectors: Float32Array, k: number): Float32Array => {
    const turned = new Float32Array(d * k);
    for (let c = 0; c < k; c++) for (let j = 0; j < d; j++) turned[j * k + c] = vectors[c * d + j]!;
    return turned;
  };
  const similarities = (vectors: Float32Array, k: number): Float32Array => {
    const turned = byColumn(vectors, k);
    const out = new Float32Array(n * k);
    for (let i = 0; i < n; i++) {
      for (let at = offsets[i]!; at < offsets[i + 1]!; at++) {
        const from = columns[at]! * k;
        const value = values[at]!;
        for (let c = 0; c < k; c++) out[i * k + c] = out[i * k + c]! + value * turned[from + c]!;
      }
    }
    return out;
  };
  return {
    n,
    d,
    similarities,
    nearest: (vectors, k) => {
      const all = similarities(vectors, k);
      const index = new Int32Array(n);
      const similarity = new Float32Array(n);
      for (let i = 0; i < n; i++) {
        let best = 0;
        for (let c = 1; c < k; c++) if (all[i * k + c]! > all[i * k + best]!) best = c;
        index[i] = best;
        similarity[i] = all[i * k + best]!;
      }
      return { index, similarity };
    },
    accumulate: (i, sum, sign) => {
      for (let at = offsets[i]!; at < offsets[i + 1]!; at++) {
        sum[columns[at]!] = sum[columns[at]!]! + sign * values[at]!;
      }
    },
    row: (i) => {
      const dense = new Float32Array(d);
      for (let at = offsets[i]!; at < offsets[i + 1]!; at++) dense[columns[at]!] = values[at]!;
      return dense;
    },
    dispose: () => {},
  };
}
