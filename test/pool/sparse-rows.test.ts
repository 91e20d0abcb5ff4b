/** Sparse rows beside the dense ones that they were made of. */

import { expect, it } from 'vitest';
import { denseRows, sparseRows } from '../../src/pool/sparse-rows.js';

it('keep what is not zero, in its place, of rows without anything too', () => {
  const rows = [
    [0, 2, 0, -1],
    [0, 0, 0, 0],
    [3, 0, 0, 0.5],
    [0, 0, 0, 0],
  ].map((row) => Float32Array.from(row));
  const sparse = sparseRows(rows);
  expect(sparse).toEqual({
    n: 4,
    d: 4,
    offsets: Int32Array.of(0, 2, 2, 4, 4),
    columns: Int32Array.of(1, 3, 0, 3),
    values: Float32Array.of(2, -1, 3, 0.5),
  });
  expect(denseRows(sparse)).toEqual(Float32Array.from(rows.flatMap((row) => [...row])));
});

it('are read one at a time', () => {
  let open = 0;
  const rows = function* () {
    for (const x of [1, 2, 3]) {
      open++;
      const row = Float32Array.of(x);
      yield row;
      row.fill(Number.NaN); // whoever kept it would have this
    }
  };
  expect(denseRows(sparseRows(rows()))).toEqual(Float32Array.of(1, 2, 3));
  expect(open).toBe(3);
});
