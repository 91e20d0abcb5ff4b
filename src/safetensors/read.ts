/** Reading safetensors files by position: opening costs the header alone, each tensor is read when asked for. */

import assert from 'node:assert';
import { endianness } from 'node:os';
import { CrayonError } from '../core/errors.js';
import { bytesOf, closeFile, openRegularFile, readFully } from '../files/io.js';
import { bfloat16ToFloat32, float16ToFloat32 } from './half-floats.js';
import { bytesPer, isFloat, LENGTH_BYTES, parseHeader, parseHeaderLength, type TensorInfo } from './header.js';

export type { Dtype, TensorInfo } from './header.js';

// The format is little-endian and typed arrays have the machine's order; no supported platform of Node differs.
assert.equal(endianness(), 'LE', 'safetensors files are read on little-endian machines only');

/** Narrower floats pass through a buffer of this size on their way to float32. */
const SCRATCH_BYTES = 2 ** 20;
let scratch: ArrayBuffer | undefined;

/** The number of elements of a shape. */
export function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

/**
 * One open file.
 *
 * @example
 * const file = SafetensorsFile.open('model.safetensors');
 * const norm = file.readF32('model.norm.weight'); // (C)
 * file.close();
 */
export class SafetensorsFile {
  readonly path: string;
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  readonly metadata: Readonly<Record<string, string>>;
  readonly sizeBytes: number;
  readonly #fd: number;
  readonly #dataStart: number;
  #isOpen = true;

  private constructor(path: string, fd: number, sizeBytes: number) {
    this.path = path;
    this.#fd = fd;
    this.sizeBytes = sizeBytes;
    const field = new Uint8Array(Math.min(LENGTH_BYTES, sizeBytes));
    readFully(fd, field, 0, path);
    const header = allocate(path, 'header', () => new Uint8Array(parseHeaderLength(field, sizeBytes, path)));
    readFully(fd, header, LENGTH_BYTES, path);
    this.#dataStart = LENGTH_BYTES + header.byteLength;
    const { tensors, metadata } = parseHeader(header, sizeBytes - this.#dataStart, path);
    this.tensors = tensors;
    this.metadata = metadata;
  }

  /**
   * Opens a file and validates its whole header.
   *
   * @throws CrayonError `safetensors-invalid` naming every bad tensor, `file-not-found`, `file-unreadable`
   */
  static open(path: string): SafetensorsFile {
    const { fd, sizeBytes } = openRegularFile(path);
    try {
      return new SafetensorsFile(path, fd, sizeBytes);
    } catch (error) {
      closeFile(fd);
      throw error;
    }
  }

  /** Type, shape and place of one tensor. */
  info(name: string): TensorInfo {
    const info = this.tensors.get(name);
    if (info === undefined) throw new CrayonError('safetensors-invalid', `${this.path}: has no tensor "${name}"`);
    return info;
  }

  /** A tensor's raw bytes, little-endian and row-major. */
  readBytes(name: string): Uint8Array {
    const [start, end] = this.info(name).dataOffsets;
    const bytes = allocate(this.path, name, () => new Uint8Array(end - start));
    this.#readAt(bytes, start);
    return bytes;
  }

  /** As many of a tensor's raw bytes as the target takes, from an offset within it. */
  readBytesInto(name: string, offset: number, target: Uint8Array): void {
    const [start, end] = this.info(name).dataOffsets;
    assert(offset >= 0 && start + offset + target.length <= end, `${target.length} bytes from ${offset} of "${name}"`);
    this.#readAt(target, start + offset);
  }

  /** A float tensor of any width as float32 (float64 is rounded). Integers are refused. */
  readF32(name: string): Float32Array {
    const { shape } = this.#floatInfo(name);
    const data = allocate(this.path, name, () => new Float32Array(elementCount(shape)));
    this.readInto(name, data);
    return data;
  }

  /** Like `readF32`, into the caller's array, which must have exactly the tensor's element count. */
  readInto(name: string, target: Float32Array): void {
    const info = this.#floatInfo(name);
    assert.equal(target.length, elementCount(info.shape), `target for "${name}" of shape [${info.shape}]`);
    this.#decode(info, info.dataOffsets[0], target);
  }

  /**
   * Some rows of a 2-D float tensor, each read at its offset: a few embeddings cost a few kilobytes of reading.
   *
   * @returns (rows.length, columns)
   */
  readRowsF32(name: string, rows: ArrayLike<number>): Float32Array {
    const info = this.#floatInfo(name);
    const [rowCount, columns] = info.shape;
    if (info.shape.length !== 2 || rowCount === undefined || columns === undefined) {
      throw new CrayonError('safetensors-invalid', `${this.path}: "${name}" has shape [${info.shape}], expected 2-D`);
    }
    const data = new Float32Array(rows.length * columns);
    const rowBytes = columns * bytesPer(info.dtype);
    for (let i = 0; i < rows.length; i++) {
      const row = rows[i]!;
      if (!Number.isInteger(row) || row < 0 || row >= rowCount) {
        throw new CrayonError('safetensors-invalid', `${this.path}: row ${row} of "${name}", which has ${rowCount}`);
      }
      this.#decode(info, info.dataOffsets[0] + row * rowBytes, data.subarray(i * columns, (i + 1) * columns));
    }
    return data;
  }

  /**
   * The length field and header, then `count` blocks of the data, evenly spread and both ends included; or the whole
   * file when it is smaller than `wholeBelowBytes`. For digests.
   */
  sample(count: number, blockBytes: number, wholeBelowBytes: number): Uint8Array {
    const headBytes = this.#dataStart;
    if (this.sizeBytes < wholeBelowBytes) return this.#readRange(0, this.sizeBytes);
    const out = new Uint8Array(headBytes + count * blockBytes);
    out.set(this.#readRange(0, headBytes));
    const last = this.sizeBytes - headBytes - blockBytes;
    for (let i = 0; i < count; i++) {
      const offset = Math.floor((last * i) / (count - 1));
      this.#readAt(out.subarray(headBytes + i * blockBytes, headBytes + (i + 1) * blockBytes), offset);
    }
    return out;
  }

  close(): void {
    if (this.#isOpen) closeFile(this.#fd);
    this.#isOpen = false;
  }

  #floatInfo(name: string): TensorInfo {
    const info = this.info(name);
    if (!isFloat(info.dtype)) {
      throw new CrayonError('safetensors-invalid', `${this.path}: "${name}" is ${info.dtype}, expected a float type`, {
        hint: 'Quantised weights are not supported: use the float16, bfloat16 or float32 version.',
      });
    }
    return info;
  }

  /** Reads `target.length` elements of `info.dtype` from `start` of the data section and widens them. */
  #decode(info: TensorInfo, start: number, target: Float32Array): void {
    if (info.dtype === 'F32') {
      this.#readAt(bytesOf(target), start);
      return;
    }
    scratch ??= new ArrayBuffer(SCRATCH_BYTES);
    const width = bytesPer(info.dtype);
    const step = SCRATCH_BYTES / width;
    for (let done = 0; done < target.length; done += step) {
      const count = Math.min(step, target.length - done);
      this.#readAt(new Uint8Array(scratch, 0, count * width), start + done * width);
      const part = target.subarray(done, done + count);
      if (info.dtype === 'F16') float16ToFloat32(new Uint16Array(scratch, 0, count), part);
      else if (info.dtype === 'BF16') bfloat16ToFloat32(new Uint16Array(scratch, 0, count), part);
      else part.set(new Float64Array(scratch, 0, count));
    }
  }

  #readRange(start: number, end: number): Uint8Array {
    const bytes = new Uint8Array(end - start);
    readFully(this.#fd, bytes, start, this.path);
    return bytes;
  }

  #readAt(target: Uint8Array, offset: number): void {
    assert(this.#isOpen, `${this.path} has been closed`);
    readFully(this.#fd, target, this.#dataStart + offset, this.path);
  }
}

export function allocate<T>(path: string, name: string, make: () => T): T {
  try {
    return make();
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new CrayonError('out-of-memory', `${path}: not enough memory for ${name}`, { cause: error });
  }
}
