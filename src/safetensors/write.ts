/**
 * Writing safetensors files as a stream: byte for byte the layout of the reference serializer, with memory bounded by
 * the largest tensor, and no file under the final name until it is complete.
 */

import assert from 'node:assert';
import { CrayonError } from '../core/errors.js';
import { AtomicFileStream } from '../files/atomic.js';
import { bytesOf } from '../files/io.js';
import { float32ToBfloat16, float32ToFloat16 } from './half-floats.js';
import { ARRAY_OF, type Dtype, layOut, type TensorPlace } from './header.js';

/** What a tensor's elements may be given as; Float32Array also for F16 and BF16, which converts. */
export type TensorData = (typeof ARRAY_OF)[Dtype]['prototype'];

export interface TensorDeclaration {
  name: string;
  dtype: Dtype;
  shape: readonly number[];
}

export interface TensorToWrite extends TensorDeclaration {
  /** The elements, or a function called when the tensor's turn comes, so that only one needs to be in memory. */
  data: TensorData | (() => TensorData);
}

/**
 * A file being written: declare all tensors, write them in `order`, then `finish()`. Any failure removes the temporary
 * file; `abort()` does so on purpose.
 */
export class SafetensorsWriter {
  /** The order in which `write` must be called. */
  readonly order: ReadonlyArray<Readonly<TensorPlace>>;
  /** Size of the complete file. */
  readonly sizeBytes: number;
  readonly #path: string;
  readonly #file: AtomicFileStream;
  #next = 0;

  constructor(path: string, tensors: readonly TensorDeclaration[], metadata?: Record<string, string>) {
    const { head, places, dataBytes } = layOut(tensors, metadata);
    assert.equal(new Set(tensors.map(({ name }) => name)).size, tensors.length, 'tensor names must be unique');
    this.#path = path;
    this.order = places;
    this.sizeBytes = head.byteLength + dataBytes;
    this.#file = new AtomicFileStream(path, this.sizeBytes);
    this.#file.write(head);
  }

  /**
   * Writes the next tensor of `order`. The array goes to the system as it is, without a copy, unless a Float32Array is
   * to be stored as F16 or BF16.
   *
   * @throws CrayonError `tensor-not-finite` when a finite value does not fit into F16
   */
  write(name: string, data: TensorData): void {
    this.#attempt(() => {
      const place = this.order[this.#next];
      assert.equal(name, place?.name, 'tensors must be written in the order of the layout');
      const stored = toStored(place!, data, this.#path);
      const [start, end] = place!.dataOffsets;
      assert.equal(stored.byteLength, end - start, `bytes of tensor "${name}"`);
      this.#file.write(bytesOf(stored));
      this.#next++;
    });
  }

  /** Syncs and renames into place. */
  finish(): { bytes: number } {
    this.#attempt(() => assert.equal(this.#next, this.order.length, 'every declared tensor must be written'));
    this.#file.finish();
    return { bytes: this.sizeBytes };
  }

  /** Gives up and removes the temporary file. */
  abort(): void {
    this.#file.abort();
  }

  #attempt(action: () => void): void {
    try {
      action();
    } catch (error) {
      this.#file.abort();
      throw error;
    }
  }
}

/**
 * Writes a whole file. Functions given as `data` are called one by one, in file order.
 *
 * @returns the size of the file
 * @throws CrayonError `disk-full`, `write-failed`, or what a `data` function throws; no file is left behind
 */
export function writeSafetensors(
  path: string,
  tensors: readonly TensorToWrite[],
  metadata?: Record<string, string>,
): { bytes: number } {
  const writer = new SafetensorsWriter(path, tensors, metadata);
  const dataOf = new Map(tensors.map(({ name, data }) => [name, data]));
  try {
    for (const { name } of writer.order) {
      const data = dataOf.get(name)!;
      writer.write(name, typeof data === 'function' ? data() : data);
    }
  } catch (error) {
    writer.abort();
    throw error;
  }
  return writer.finish();
}

function toStored({ name, dtype }: TensorPlace, data: TensorData, path: string): TensorData {
  if (data instanceof Float32Array && (dtype === 'F16' || dtype === 'BF16')) {
    const bits = new Uint16Array(data.length);
    if (dtype === 'BF16') float32ToBfloat16(data, bits);
    else {
      float32ToFloat16(data, bits);
      refuseOverflow(name, data, bits, path);
    }
    return bits;
  }
  assert(data instanceof ARRAY_OF[dtype], `tensor "${name}" of ${dtype} given as ${data.constructor.name}`);
  return data;
}

/** A finite float32 beyond 65,504 would silently become infinity in F16. */
function refuseOverflow(name: string, data: Float32Array, bits: Uint16Array, path: string): void {
  const at = bits.findIndex((x, i) => (x & 0x7fff) === 0x7c00 && Number.isFinite(data[i]!));
  if (at === -1) return;
  throw new CrayonError('tensor-not-finite', `${path}: ${data[at]} in tensor "${name}" does not fit into F16`, {
    hint: 'Write it as BF16 or F32.',
  });
}
