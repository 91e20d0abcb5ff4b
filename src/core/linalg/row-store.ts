/**
 * Many rows of float32 in memory that WebAssembly works on: products with a few vectors, products of pairs, and sums of rows.
 *
 * A WebAssembly memory ends at 4 GiB, so the rows lie in as many memories as they need; behind the rows of each there is room for the
 * vectors, lists and results of one call. What a call returns does not depend on the number of threads or of memories.
 */

import { availableParallelism } from 'node:os';
import { Crew } from './crew.js';
import { PAIRS, PRODUCT_ROWS, PRODUCT_VECTORS, ROW_BYTES, type RowKernel } from './row-kernels.js';
import { Memory, type SharedMemory } from './wasm.js';

const PAGE = 65_536;
/** Rows in one memory at most: half of it, the other half is for one call's vectors and results. */
const MOST_BYTES = 2 ** 31;
/** Items of one call to a kernel at most: bounds the lists and results, which then stay in the cache. */
const BATCH = 2 ** 16;
/** Below so many numbers a thread would take longer to start than the work. */
const FEW_NUMBERS = 2 ** 20;

const roundUp = (value: number, multiple: number) => Math.ceil(value / multiple) * multiple;

/** A memory with rows `first` to `first + count`. */
interface Slab {
  memory: SharedMemory;
  first: number;
  count: number;
}

export interface RowStoreOptions {
  /** how many compute, the calling one included; as many as the machine has cores by default */
  threads?: number | undefined;
  /** of rows in one memory */
  mostBytes?: number | undefined;
}

export class RowStore {
  readonly n: number;
  readonly d: number;
  /** How far a product may lie from the exact one of the same two rows, as a share of their lengths' product. */
  readonly rounding: number;
  /** bytes of a row */
  readonly #stride: number;
  readonly #slabs: Slab[] = [];
  readonly #crew: Crew;

  /** @param data (n, d), row-major; copied */
  constructor(data: Float32Array, n: number, d: number, options: RowStoreOptions = {}) {
    this.n = n;
    this.d = d;
    this.#stride = roundUp(4 * d, ROW_BYTES);
    // Each of four sums takes a product and an addition for every fourth element, and two more additions follow.
    this.rounding = (this.#stride / 16 + 3) * 2 ** -24;
    const { mostBytes = MOST_BYTES, threads = availableParallelism() } = options;
    const most = Math.max(1, Math.floor(mostBytes / this.#stride));
    for (let first = 0; first < n; first += most) {
      const count = Math.min(most, n - first);
      const initial = Math.ceil((count * this.#stride) / PAGE) + 1;
      this.#slabs.push({ memory: new Memory({ initial, maximum: PAGE, shared: true }), first, count });
    }
    this.#crew = new Crew(
      this.#slabs.map(({ memory }) => memory),
      n * d < FEW_NUMBERS && options.threads === undefined ? 1 : threads,
    );
    this.replace(data);
  }

  /** Puts other rows in the place of these. data (n, d), row-major; copied */
  replace(data: Float32Array): void {
    const { d } = this;
    for (const { memory, first, count } of this.#slabs) {
      this.#spread(memory, 0, data.subarray(first * d, (first + count) * d), count);
    }
  }

  /** Row i, as a copy. */
  row(i: number): Float32Array {
    const { memory, first } = this.#slabs.find((slab) => i < slab.first + slab.count)!;
    return new Float32Array(memory.buffer, (i - first) * this.#stride, this.d).slice();
  }

  /**
   * Products of rows with k vectors.
   *
   * @param rows ascending; all of them where null
   * @param vectors (k, d)
   * @returns (rows, k), row-major
   */
  products(rows: Int32Array | null, vectors: Float32Array, k: number): Float32Array {
    const result = new Float32Array((rows?.length ?? this.n) * k);
    const width = roundUp(k, PRODUCT_VECTORS);
    for (const { slab, start, count } of this.#parts(rows)) {
      const room = this.#room(slab, [width * this.#stride, 4 * (count + 1), 4 * (count + 1) * width]);
      const [at, list, out] = room.at as [number, number, number];
      this.#spread(room.memory, at, vectors, width);
      this.#list(room.memory, list, slab, rows, start, count, PRODUCT_ROWS);
      const items = roundUp(count, PRODUCT_ROWS);
      const rest = [list, 0, this.#stride, at, at + width * this.#stride, out];
      this.#run(slab, 'products', { items, cost: width * this.d, multiple: PRODUCT_ROWS }, rest);
      const values = new Float32Array(room.memory.buffer, out, count * width);
      if (width === k) result.set(values, start * k);
      else {
        for (let i = 0, to = start * k; i < count; i++) {
          for (let c = 0, from = i * width; c < k; c++) result[to++] = values[from++]!;
        }
      }
    }
    return result;
  }

  /**
   * Products of rows with one vector each.
   *
   * @param rows ascending, where a row may stand several times; all of them where null
   * @param columns which vector, for each
   * @param vectors (k, d)
   */
  pairs(rows: Int32Array | null, columns: Int32Array, vectors: Float32Array): Float32Array {
    const result = new Float32Array(columns.length);
    const k = vectors.length / this.d;
    for (const { slab, start, count } of this.#parts(rows)) {
      const bytes = 4 * roundUp(count, PAIRS);
      const room = this.#room(slab, [k * this.#stride, bytes, bytes, bytes]);
      const [at, list, column, out] = room.at as [number, number, number, number];
      this.#spread(room.memory, at, vectors, k);
      this.#list(room.memory, list, slab, rows, start, count, PAIRS);
      const chosen = new Int32Array(room.memory.buffer, column, bytes / 4);
      chosen.set(columns.subarray(start, start + count));
      chosen.fill(0, count);
      const work = { items: bytes / 4, cost: this.d, multiple: PAIRS };
      this.#run(slab, 'pairs', work, [list, column, 0, this.#stride, at, out]);
      result.set(new Float32Array(room.memory.buffer, out, count), start);
    }
    return result;
  }

  /**
   * sums[targets[i]] += sign * row rows[i], in the order of the list.
   *
   * @param rows ascending; all of them where null
   * @param sums (k, d), row-major
   */
  accumulate(rows: Int32Array | null, targets: Int32Array, sums: Float64Array, sign: 1 | -1): void {
    const { d } = this;
    const k = sums.length / d;
    const padded = this.#stride / 4;
    for (const { slab, start, count } of this.#parts(rows)) {
      const room = this.#room(slab, [8 * k * padded, 4 * count, 4 * count]);
      const [at, list, target] = room.at as [number, number, number];
      const values = new Float64Array(room.memory.buffer, at, k * padded);
      for (let c = 0; c < k; c++) values.set(sums.subarray(c * d, (c + 1) * d), c * padded);
      this.#list(room.memory, list, slab, rows, start, count, 1);
      new Int32Array(room.memory.buffer, target, count).set(targets.subarray(start, start + count));
      const work = { items: padded / 4, cost: 4 * count, multiple: 1 };
      this.#run(slab, 'accumulate', work, [list, list + 4 * count, target, 0, this.#stride, at, sign]);
      for (let c = 0; c < k; c++) sums.set(values.subarray(c * padded, c * padded + d), c * d);
    }
  }

  dispose(): void {
    this.#crew.dispose();
    this.#slabs.length = 0;
  }

  #run(slab: Slab, kernel: RowKernel, work: { items: number; cost: number; multiple: number }, rest: number[]): void {
    this.#crew.run(this.#slabs.indexOf(slab), kernel, work, rest);
  }

  /** A list of rows in pieces that lie in one memory each and are not too long. */
  *#parts(rows: Int32Array | null): Generator<{ slab: Slab; start: number; count: number }> {
    let start = 0;
    for (const slab of this.#slabs) {
      const past = slab.first + slab.count;
      let end = past;
      if (rows !== null) for (end = start; end < rows.length && rows[end]! < past; ) end++;
      for (; start < end; start += BATCH) yield { slab, start, count: Math.min(BATCH, end - start) };
      start = end;
    }
  }

  /** Writes a piece of a list as places in its memory, and again its first one until it has a multiple of `multiple` entries. */
  #list(
    memory: SharedMemory,
    at: number,
    { first }: Slab,
    rows: Int32Array | null,
    start: number,
    count: number,
    multiple: number,
  ): void {
    const list = new Int32Array(memory.buffer, at, roundUp(count, multiple));
    for (let i = 0; i < count; i++) list[i] = (rows === null ? start + i : rows[start + i]!) - first;
    list.fill(list[0]!, count);
  }

  /** Places behind the rows for pieces of so many bytes, each at a multiple of 16. */
  #room({ memory, count }: Slab, bytes: number[]): { memory: SharedMemory; at: number[] } {
    let end = count * this.#stride;
    const at = bytes.map((size) => {
      const place = end;
      end += roundUp(size, 16);
      return place;
    });
    const missing = end - memory.buffer.byteLength;
    if (missing > 0) memory.grow(Math.ceil(missing / PAGE));
    return { memory, at };
  }

  /** Writes vectors (k, d) with zeros behind each, and vectors of zeros up to `count`. */
  #spread(memory: SharedMemory, at: number, vectors: Float32Array, count: number): void {
    const { d } = this;
    const padded = this.#stride / 4;
    const target = new Float32Array(memory.buffer, at, count * padded);
    const k = vectors.length / d;
    if (padded === d) target.set(vectors);
    else {
      target.fill(0);
      for (let c = 0; c < k; c++) target.set(vectors.subarray(c * d, (c + 1) * d), c * padded);
    }
    target.fill(0, k * padded);
  }
}
