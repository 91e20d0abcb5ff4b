/**
 * The inner loops of work on many rows, as WebAssembly with vectors of four float32: about ten times plain JavaScript, 20 GFLOP/s on one core.
 *
 * A product of two rows is four running sums, of every fourth element each, rounded to float32 at every step, and at the end
 * (s0 + s1) + (s2 + s3): the same number whichever kernel computes it, beside which others, and on every machine.
 *
 * Rows are `stride` bytes long, a multiple of ROW_BYTES, with zeros at their end. Every kernel takes the items `from` to `to` of its work
 * first, so that threads can share it; addresses are bytes.
 */

import { type Code, f32, f32x4, f64x2, i32, type Local, loop, Module, v128, wasmFunction, wasmModule } from './wasm.js';

/** Rows are a multiple of this long. */
export const ROW_BYTES = 32;
/** Rows and vectors that `products` takes at a time: 8 sums and what they are made of stay in the 16 registers. */
export const PRODUCT_ROWS = 2;
export const PRODUCT_VECTORS = 4;
/** Pairs that `pairs` takes at a time, so that none waits for its own last sum. */
export const PAIRS = 4;

const times = <T>(count: number, make: (i: number) => T): T[] => Array.from({ length: count }, (_, i) => make(i));

const addressOf = (base: Local, index: Code, size: Code): Code => i32.add(base.get, i32.mul(index, size));

const total = (sums: Local): Code => {
  const lane = (i: number) => f32.lane(sums.get, i);
  return f32.add(f32.add(lane(0), lane(1)), f32.add(lane(2), lane(3)));
};

/** out[i, c] = row list[i] . vector c, for all vectors up to `end`; out is (items, vectors). */
const products = wasmFunction('products', 8, ([from, to, list, rows, stride, vectors, end, out], variable) => {
  const x = times(PRODUCT_ROWS, () => variable('i32')); // addresses in the rows
  const y = times(PRODUCT_VECTORS, () => variable('i32')); // addresses in the vectors
  const [vector, rowEnd, width, target, entry] = times(5, () => variable('i32')) as [Local, Local, Local, Local, Local];
  const sums = times(PRODUCT_ROWS, () => times(PRODUCT_VECTORS, () => variable('v128')));
  const xs = times(PRODUCT_ROWS, () => variable('v128'));
  const ys = variable('v128');
  const four = i32.of(4);
  const step = [
    ...x.flatMap((address, r) => xs[r]!.set(v128.load(address.get))),
    ...y.flatMap((address, c) => [
      ...ys.set(v128.load(address.get)),
      ...sums.flatMap((row, r) => row[c]!.set(f32x4.add(row[c]!.get, f32x4.mul(xs[r]!.get, ys.get)))),
    ]),
    ...[...x.slice(1), ...y].flatMap((address) => address.set(i32.add(address.get, i32.of(16)))),
  ];
  const block = [
    ...x.flatMap((address, r) => address.set(addressOf(rows!, i32.load(entry.get, 4 * r), stride!.get))),
    ...y.flatMap((address, c) => address.set(addressOf(vector, i32.of(c), stride!.get))),
    ...rowEnd.set(i32.add(x[0]!.get, stride!.get)),
    ...sums.flat().flatMap((sum) => sum.set(v128.zero)),
    ...loop(x[0]!, i32.of(16), rowEnd.get, step),
    ...sums.flatMap((row, r) =>
      row.flatMap((sum, c) => f32.store(addressOf(target, i32.of(r), width.get), total(sum), 4 * c)),
    ),
    ...target.set(i32.add(target.get, i32.of(4 * PRODUCT_VECTORS))),
  ];
  return [
    ...width.set(i32.mul(i32.div(i32.sub(end!.get, vectors!.get), stride!.get), four)),
    ...loop(from!, i32.of(PRODUCT_ROWS), to!.get, [
      ...entry.set(addressOf(list!, from!.get, four)),
      ...target.set(addressOf(out!, from!.get, width.get)),
      ...vector.set(vectors!.get),
      ...loop(vector, i32.mul(stride!.get, i32.of(PRODUCT_VECTORS)), end!.get, block),
    ]),
  ];
});

/** out[i] = row list[i] . vector columns[i]. */
const pairs = wasmFunction('pairs', 8, ([from, to, list, columns, rows, stride, vectors, out], variable) => {
  const x = times(PAIRS, () => variable('i32'));
  const y = times(PAIRS, () => variable('i32'));
  const rowEnd = variable('i32');
  const sums = times(PAIRS, () => variable('v128'));
  const four = i32.of(4);
  const entry = (base: Local) => addressOf(base, from!.get, four);
  return loop(from!, i32.of(PAIRS), to!.get, [
    ...x.flatMap((address, p) => address.set(addressOf(rows!, i32.load(entry(list!), 4 * p), stride!.get))),
    ...y.flatMap((address, p) => address.set(addressOf(vectors!, i32.load(entry(columns!), 4 * p), stride!.get))),
    ...rowEnd.set(i32.add(x[0]!.get, stride!.get)),
    ...sums.flatMap((sum) => sum.set(v128.zero)),
    ...loop(x[0]!, i32.of(ROW_BYTES), rowEnd.get, [
      ...[0, 16].flatMap((offset) =>
        sums.flatMap((sum, p) =>
          sum.set(f32x4.add(sum.get, f32x4.mul(v128.load(x[p]!.get, offset), v128.load(y[p]!.get, offset)))),
        ),
      ),
      ...[...x.slice(1), ...y].flatMap((address) => address.set(i32.add(address.get, i32.of(ROW_BYTES)))),
    ]),
    ...sums.flatMap((sum, p) => f32.store(entry(out!), total(sum), 4 * p)),
  ]);
});

/**
 * sums[targets[i]] += sign * row list[i], in float64 and in the list's order. The items are groups of four columns: threads share the
 * columns and not the rows, so that their number does not change a sum.
 */
const accumulate = wasmFunction(
  'accumulate',
  9,
  ([from, to, list, listEnd, targets, rows, stride, sums, sign], variable) => {
    const [x, sum, sumEnd] = times(3, () => variable('i32')) as [Local, Local, Local];
    const factor = variable('v128');
    const half = (i: number) => {
      const term = f64x2.mul(f64x2.promote(v128.loadLow(x.get, 8 * i)), factor.get);
      return v128.store(sum.get, f64x2.add(v128.load(sum.get, 16 * i), term), 16 * i);
    };
    const at = (base: Code, group: Local, size: number) => i32.add(base, i32.mul(group.get, i32.of(size)));
    const start = addressOf(sums!, i32.load(targets!.get), i32.mul(stride!.get, i32.of(2)));
    return [
      ...factor.set(f64x2.ofI32(sign!.get)),
      ...loop(list!, i32.of(4), listEnd!.get, [
        ...x.set(at(addressOf(rows!, i32.load(list!.get), stride!.get), from!, 16)),
        ...sum.set(at(start, from!, 32)),
        ...sumEnd.set(at(start, to!, 32)),
        ...loop(sum, i32.of(32), sumEnd.get, [...half(0), ...half(1), ...x.set(i32.add(x.get, i32.of(16)))]),
        ...targets!.set(i32.add(targets!.get, i32.of(4))),
      ]),
    ];
  },
);

export const ROW_KERNELS = ['products', 'pairs', 'accumulate'] as const;
export type RowKernel = (typeof ROW_KERNELS)[number];

/** Compiled once, at the first use. */
export function rowKernels(): object {
  compiled ??= new Module(wasmModule([products, pairs, accumulate]));
  return compiled;
}
let compiled: object | undefined;
