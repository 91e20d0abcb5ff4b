/** Rows that are mostly zeros: of a text's tf-idf all but some hundred numbers, in a vocabulary of up to 262,144. */

/** n sparse rows of size d: row i holds `columns`, ascending, and `values` from offsets[i] to offsets[i+1]. */
export interface SparseRows {
  n: number;
  d: number;
  offsets: Int32Array;
  columns: Int32Array;
  values: Float32Array;
}

/** Vectors (d) less their zeros. @param vectors at least one; each is read when it is asked for, and not kept */
export function sparseRows(vectors: Iterable<Float32Array>): SparseRows {
  const [offsets, columns, values] = [[0], [] as number[], [] as number[]];
  let d = 0;
  for (const vector of vectors) {
    d = vector.length;
    for (let j = 0; j < d; j++) {
      if (vector[j] === 0) continue;
      columns.push(j);
      values.push(vector[j]!);
    }
    offsets.push(columns.length);
  }
  return {
    n: offsets.length - 1,
    d,
    offsets: Int32Array.from(offsets),
    columns: Int32Array.from(columns),
    values: Float32Array.from(values),
  };
}

/** The same as a dense matrix (n, d), row-major. */
export function denseRows({ n, d, offsets, columns, values }: SparseRows): Float32Array {
  const dense = new Float32Array(n * d);
  for (let i = 0; i < n; i++) {
    for (let at = offsets[i]!; at < offsets[i + 1]!; at++) dense[i * d + columns[at]!] = values[at]!;
  }
  return dense;
}
