/** The kernels beside the same arithmetic in plain JavaScript, number for number, whatever the threads and memories. */

import { afterEach, describe, expect, it } from 'vitest';
import { RowStore, type RowStoreOptions } from '../../../src/core/linalg/row-store.js';
import { createRandom } from '../../../src/core/random.js';

const stores: RowStore[] = [];
afterEach(() => {
  for (const store of stores.splice(0)) store.dispose();
});

function open(data: Float32Array, n: number, d: number, options: RowStoreOptions = {}): RowStore {
  const store = new RowStore(data, n, d, options);
  stores.push(store);
  return store;
}

function normals(count: number, label: string): Float32Array {
  const random = createRandom(1, label);
  return Float32Array.from({ length: count }, () => random.normal());
}

/** What row-kernels.ts says a product is. */
function product(x: Float32Array, y: Float32Array): number {
  const sums = [0, 0, 0, 0];
  for (let j = 0; j < x.length; j++) {
    sums[j % 4] = Math.fround(sums[j % 4]! + Math.fround(x[j]! * y[j]!));
  }
  return Math.fround(Math.fround(sums[0]! + sums[1]!) + Math.fround(sums[2]! + sums[3]!));
}

const SHAPES = [
  { n: 1, d: 1, k: 1 },
  { n: 7, d: 4, k: 3 },
  { n: 50, d: 13, k: 5 },
  { n: 33, d: 64, k: 8 },
];
/** One memory, and a memory for every few rows. */
const ROOMS: RowStoreOptions[] = [{}, { mostBytes: 700 }];

/** `toEqual` takes minutes over so many numbers. */
const bytes = (values: Float32Array | Float64Array) => Buffer.from(values.buffer).toString('latin1');

describe('RowStore', () => {
  it.each(SHAPES)('multiplies, picks and adds n = $n, d = $d, k = $k as plain JavaScript does', ({ n, d, k }) => {
    const data = normals(n * d, 'rows');
    const vectors = normals(k * d, 'vectors');
    const rowOf = (i: number) => data.slice(i * d, (i + 1) * d);
    const vectorOf = (c: number) => vectors.slice(c * d, (c + 1) * d);
    const some = Int32Array.from({ length: n }, (_, i) => i).filter((i) => i % 3 !== 1);
    const columns = some.map((i) => (7 * i) % k);
    const expectedSums = Float64Array.from({ length: k * d }, (_, i) => i / 3);
    some.forEach((i, at) => {
      rowOf(i).forEach((value, j) => {
        expectedSums[columns[at]! * d + j]! -= value;
      });
    });
    for (const room of ROOMS) {
      const store = open(data, n, d, room);
      const all = Float32Array.from({ length: n * k }, (_, at) => product(rowOf(Math.floor(at / k)), vectorOf(at % k)));
      expect(store.products(null, vectors, k)).toEqual(all);
      const chosen = Float32Array.from([...some].flatMap((i) => [...all.subarray(i * k, (i + 1) * k)]));
      expect(store.products(some, vectors, k)).toEqual(chosen);
      const picked = Float32Array.from(some, (i, at) => all[i * k + columns[at]!]!);
      expect(store.pairs(some, columns, vectors)).toEqual(picked);
      const sums = Float64Array.from({ length: k * d }, (_, i) => i / 3);
      store.accumulate(some, columns, sums, -1);
      expect(sums).toEqual(expectedSums);
      expect(store.row(n - 1)).toEqual(rowOf(n - 1));
    }
  });

  it.each(ROOMS)('takes other rows in the place of its own, in memories of %o', (room) => {
    const { n, d, k } = { n: 50, d: 13, k: 5 };
    const vectors = normals(k * d, 'vectors');
    const store = open(normals(n * d, 'rows'), n, d, room);
    const before = store.products(null, vectors, k); // whose vectors and results lie behind the rows
    const others = normals(n * d, 'others');
    store.replace(others);
    expect(store.row(n - 1)).toEqual(others.slice((n - 1) * d));
    expect(store.products(null, vectors, k)).toEqual(open(others, n, d).products(null, vectors, k));
    expect(store.products(null, vectors, k)).not.toEqual(before);
  });

  it('gives the same whatever the number of threads, when there is work for all', () => {
    const { n, d, k } = { n: 70_000, d: 24, k: 6 };
    const data = normals(n * d, 'many');
    const vectors = normals(k * d, 'vectors');
    const targets = Int32Array.from({ length: n }, (_, i) => i % k);
    const results = [1, 2, 4].map((threads) => {
      const store = open(data, n, d, { threads });
      const rounds = Array.from({ length: 20 }, () => store.products(null, vectors, k)); // the threads come in on the way
      for (const round of rounds) expect(bytes(round) === bytes(rounds[0]!)).toBe(true);
      const sums = new Float64Array(k * d);
      store.accumulate(null, targets, sums, 1);
      return { products: rounds[0]!, pairs: store.pairs(null, targets, vectors), sums };
    });
    for (const other of results.slice(1)) {
      for (const kernel of ['products', 'pairs', 'sums'] as const) {
        expect(bytes(other[kernel]) === bytes(results[0]![kernel]), kernel).toBe(true);
      }
    }
    for (const i of [0, 1, 65_535, 65_536, n - 1]) {
      const expected = product(data.slice(i * d, (i + 1) * d), vectors.slice((i % k) * d, ((i % k) + 1) * d));
      expect(results[0]!.pairs[i]).toBe(expected);
      expect(results[0]!.products[i * k + (i % k)]).toBe(expected);
    }
  });

  it('says how far a product may be from the exact one', () => {
    const { n, d } = { n: 200, d: 896 };
    const data = normals(n * d, 'far');
    const store = open(data, n, d);
    const columns = new Int32Array(n);
    const vectors = data.slice(0, d);
    const length = (x: Float32Array) => Math.sqrt(x.reduce((sum, v) => sum + v * v, 0));
    store.pairs(null, columns, vectors).forEach((found, i) => {
      const x = data.slice(i * d, (i + 1) * d);
      let exact = 0;
      x.forEach((value, j) => {
        exact += value * vectors[j]!;
      });
      expect(Math.abs(found - exact)).toBeLessThanOrEqual(store.rounding * length(x) * length(vectors));
    });
    expect(store.rounding).toBeLessThan(2e-5);
  });
});
