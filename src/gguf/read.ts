/**
 * Reading GGUF files by position: opening costs the header alone, each tensor or row is read and dequantised when asked for.
 */

import assert from 'node:assert';
import { createHash } from 'node:crypto';
import { CrayonError } from '../core/errors.js';
import { closeFile, isFile, openRegularFile, readFully } from '../files/io.js';
import { allocate, elementCount } from '../safetensors/read.js';
import { canDequantise, dequantise, encodedBytes } from './encodings.js';
import {
  GGUF_MAGIC,
  type GgufMetadata,
  type GgufTensorInfo,
  ggufInvalid,
  ggufString,
  ggufUnsupported,
} from './format.js';
import { type GgufHeader, readGgufHeader } from './header.js';
import { GGML_TYPES, type GgmlType } from './types.js';

export type { GgufMetadata, GgufTensorInfo, GgufValue } from './format.js';

/** Elements decoded at a time: a multiple of every block size. */
const STEP = 2 ** 18;

/**
 * One open file.
 *
 * @example
 * const file = GgufFile.open('model.gguf');
 * const rows = file.readRowsF32('token_embd.weight', [1, 5, 9]); // (3, C)
 * file.close();
 */
export class GgufFile {
  readonly path: string;
  readonly sizeBytes: number;
  readonly version: number;
  readonly metadata: GgufMetadata;
  readonly tensors: ReadonlyMap<string, GgufTensorInfo>;
  /** bytes; a power of two */
  readonly alignment: number;
  readonly #fd: number;
  readonly #dataStart: number;
  #isOpen = true;

  private constructor(path: string, fd: number, sizeBytes: number, header: GgufHeader) {
    this.path = path;
    this.#fd = fd;
    this.sizeBytes = sizeBytes;
    this.version = header.version;
    this.metadata = header.metadata;
    this.tensors = header.tensors;
    this.alignment = header.alignment;
    this.#dataStart = header.dataStart;
  }

  /**
   * Opens a file and validates its whole header; memory and time depend on the header, not on the file's size.
   *
   * @throws CrayonError `gguf-invalid`, `gguf-unsupported` (old versions, big-endian), `file-not-found`, `file-unreadable`
   */
  static open(path: string): GgufFile {
    const { fd, sizeBytes } = openRegularFile(path);
    try {
      return new GgufFile(path, fd, sizeBytes, readGgufHeader(fd, sizeBytes, path));
    } catch (error) {
      closeFile(fd);
      throw error;
    }
  }

  /** `general.architecture`, e.g. `llama`. @throws CrayonError `gguf-invalid` when it is missing */
  get architecture(): string {
    const architecture = ggufString(this, 'general.architecture');
    if (architecture === undefined) throw ggufInvalid(this.path, 'has no general.architecture');
    return architecture;
  }

  /** Type, shape and place of one tensor. */
  info(name: string): GgufTensorInfo {
    const info = this.tensors.get(name);
    if (info === undefined) throw new CrayonError('gguf-invalid', `${this.path}: has no tensor "${name}"`);
    return info;
  }

  /** Where a tensor's bytes lie in the file. */
  place(name: string): { at: number; bytes: number } {
    const { offset, bytes } = this.info(name);
    return { at: this.#dataStart + offset, bytes };
  }

  /** A tensor's bytes as they are stored. */
  readBytes(name: string): Uint8Array {
    const { offset, bytes } = this.info(name);
    const data = allocate(this.path, name, () => new Uint8Array(bytes));
    this.#readAt(data, offset);
    return data;
  }

  /** A tensor of any readable type as float32, row-major. @throws CrayonError `gguf-unsupported` for another type */
  readF32(name: string): Float32Array {
    const { type, shape, offset } = this.#readable(name);
    const data = allocate(this.path, name, () => new Float32Array(elementCount(shape)));
    this.#decode(type, offset, data);
    return data;
  }

  /**
   * Some rows of a 2-D tensor, each read at its offset and dequantised alone.
   *
   * @returns (rows.length, columns)
   */
  readRowsF32(name: string, rows: ArrayLike<number>): Float32Array {
    const { type, shape, offset } = this.#readable(name);
    const [rowCount, columns] = shape;
    if (shape.length !== 2 || rowCount === undefined || columns === undefined) {
      throw new CrayonError('gguf-invalid', `${this.path}: "${name}" has shape [${shape}], expected 2-D`);
    }
    const data = allocate(this.path, name, () => new Float32Array(rows.length * columns));
    const rowBytes = encodedBytes(type, columns);
    for (let i = 0; i < rows.length; i++) {
      const row = rows[i]!;
      if (!Number.isInteger(row) || row < 0 || row >= rowCount) {
        throw new CrayonError('gguf-invalid', `${this.path}: row ${row} of "${name}", which has ${rowCount}`);
      }
      this.#decode(type, offset + row * rowBytes, data.subarray(i * columns, (i + 1) * columns));
    }
    return data;
  }

  /** Whether `readF32` reads the type that a tensor is stored in. */
  isReadable(name: string): boolean {
    return canDequantise(this.info(name).type);
  }

  /**
   * The header, then `count` blocks of the data, evenly spread and both ends included; or the whole file when it is smaller
   * than `wholeBelowBytes`. For digests.
   */
  *sample(count: number, blockBytes: number, wholeBelowBytes: number): Generator<Uint8Array> {
    const head = this.sizeBytes < wholeBelowBytes ? this.sizeBytes : this.#dataStart;
    yield this.#readRange(0, head);
    if (head === this.sizeBytes) return;
    const last = this.sizeBytes - head - blockBytes;
    for (let i = 0; i < count; i++) yield this.#readRange(head + Math.floor((last * i) / (count - 1)), blockBytes);
  }

  /** SHA-256 over the file's size, its header and 64 blocks of 4 KiB spread evenly over its data: see `HfModel.digest`. */
  digest(): string {
    const hash = createHash('sha256').update(`${this.sizeBytes}\n`);
    for (const block of this.sample(64, 4096, 16 * 2 ** 20)) hash.update(block);
    return hash.digest('hex');
  }

  close(): void {
    if (this.#isOpen) closeFile(this.#fd);
    this.#isOpen = false;
  }

  #readable(name: string): GgufTensorInfo & { type: GgmlType } {
    const info = this.info(name);
    const { type } = info;
    if (canDequantise(type)) return { ...info, type };
    throw ggufUnsupported(
      this.path,
      `"${name}" is stored as ${type}, expected ${Object.keys(GGML_TYPES).join(', ')}`,
      'Quantise the model to one of these types.',
    );
  }

  /** Reads and decodes `target.length` elements from `start` of the data section, a step at a time. */
  #decode(type: GgmlType, start: number, target: Float32Array): void {
    const buffer = new Uint8Array(encodedBytes(type, Math.min(STEP, target.length)));
    for (let done = 0; done < target.length; done += STEP) {
      const part = target.subarray(done, done + STEP);
      const bytes = buffer.subarray(0, encodedBytes(type, part.length));
      this.#readAt(bytes, start + encodedBytes(type, done));
      dequantise(type, bytes, part);
    }
  }

  #readRange(start: number, bytes: number): Uint8Array {
    const data = allocate(this.path, 'header', () => new Uint8Array(bytes));
    this.#readAt(data, start - this.#dataStart);
    return data;
  }

  #readAt(target: Uint8Array, offset: number): void {
    assert(this.#isOpen, `${this.path} has been closed`);
    readFully(this.#fd, target, this.#dataStart + offset, this.path);
  }
}

/** Whether a file is a GGUF, by its first four bytes: model stores keep them under names without an ending. */
export function isGguf(path: string): boolean {
  const { fd, sizeBytes } = openRegularFile(path);
  try {
    if (sizeBytes < 4) return false;
    const magic = new Uint8Array(4);
    readFully(fd, magic, 0, path);
    return new DataView(magic.buffer).getUint32(0, true) === GGUF_MAGIC;
  } finally {
    closeFile(fd);
  }
}

/** Whether a path names a GGUF file, as opposed to a directory of a model. */
export function isGgufPath(path: string): boolean {
  return isFile(path) && (path.endsWith('.gguf') || isGguf(path));
}
