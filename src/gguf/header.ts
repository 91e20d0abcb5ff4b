/**
 * The header of a GGUF file (github.com/ggml-org/ggml, docs/gguf.md): magic, version, metadata, tensor table.
 *
 * Everything that the file says of itself is bounded before it is used: a count by the bytes that so many items need at
 * least, a length by what is left of the file, the header as a whole by constants far above real models'.
 */

import { abridge } from '../core/format.js';
import { LIMITS } from '../core/limits.js';
import { readFully } from '../files/io.js';
import {
  GGUF_DEFAULT_ALIGNMENT,
  GGUF_MAGIC,
  GGUF_NUMBERS,
  GGUF_VALUE_TYPES,
  type GgufMetadata,
  type GgufNumber,
  type GgufNumberType,
  type GgufTensorInfo,
  type GgufValue,
  type GgufValueType,
  ggufInvalid,
  ggufUnsupported,
} from './format.js';
import { GGML_OPAQUE_TYPES, GGML_TYPES } from './types.js';

export interface GgufHeader {
  version: number;
  metadata: GgufMetadata;
  tensors: ReadonlyMap<string, GgufTensorInfo>;
  /** bytes; a power of two */
  alignment: number;
  /** byte of the file where the data section starts */
  dataStart: number;
}

/** Magic, version, two counts. */
const FIXED_BYTES = 24;
/** A key of one byte, a type and a value of one byte. */
const MIN_METADATA_BYTES = 8 + 1 + 4 + 1;
/** Read from the file at a time. */
const WINDOW_BYTES = 2 ** 20;
/** The formats of llama.cpp before GGUF, by their magic. */
const OLD_MAGICS = new Map([
  [0x67676d6c, 'ggml'],
  [0x67676d66, 'ggmf'],
  [0x67676a74, 'ggjt'],
  [0x67676c61, 'ggla'],
]);

const CONVERT_AGAIN = 'Convert the model again with a newer llama.cpp.';

/** A name of one byte, dimension count, type, offset. */
const MIN_TENSOR_BYTES = 8 + 1 + 4 + 4 + 8;
/** Bad tensors named in one message. */
const SHOWN = 10;

/** What a tensor's type says of its size, by the type's number in the file. */
const ENCODINGS = new Map(
  Object.entries({ ...GGML_TYPES, ...GGML_OPAQUE_TYPES }).map(([name, { id, ...sizes }]) => [
    id as number,
    { name: name as GgufTensorInfo['type'], ...sizes },
  ]),
);

/** Reads and validates a whole header. @throws CrayonError `gguf-invalid`, `gguf-unsupported` */
export function readGgufHeader(fd: number, sizeBytes: number, path: string): GgufHeader {
  return new HeaderReader(new ByteCursor(fd, sizeBytes, path)).read();
}

class HeaderReader {
  readonly #cursor: ByteCursor;
  readonly #path: string;
  #arrayElements = 0;

  constructor(cursor: ByteCursor) {
    this.#cursor = cursor;
    this.#path = cursor.path;
  }

  read(): GgufHeader {
    const version = this.#readVersion();
    const tensorCount = this.#cursor.number('uint64');
    const metadata = this.#readMetadata();
    const alignment = this.#alignmentOf(metadata);
    const tensors = this.#readTensors(tensorCount, alignment);
    const dataStart = Math.ceil(this.#cursor.position / alignment) * alignment;
    this.#refuse(misplaced([...tensors.values()], Math.max(0, this.#cursor.sizeBytes - dataStart)));
    return { version, metadata, alignment, tensors, dataStart };
  }

  #readVersion(): number {
    const cursor = this.#cursor;
    const path = this.#path;
    if (cursor.sizeBytes < FIXED_BYTES) {
      throw ggufInvalid(path, `${cursor.sizeBytes} bytes long, expected at least ${FIXED_BYTES}`);
    }
    const magic = cursor.number('uint32');
    const old = OLD_MAGICS.get(magic);
    if (old !== undefined) {
      throw ggufUnsupported(path, `a "${old}" file, a format before GGUF`, CONVERT_AGAIN);
    }
    if (magic !== GGUF_MAGIC) {
      throw ggufInvalid(path, `starts with 0x${magic.toString(16).padStart(8, '0')}, expected the letters GGUF`);
    }
    const version = cursor.number('uint32');
    if ((version & 0xffff) === 0 && version !== 0) {
      const hint = 'Convert it with gguf_convert_endian.py.';
      throw ggufUnsupported(path, 'a big-endian GGUF file, expected little-endian', hint);
    }
    if (version !== 2 && version !== 3) {
      throw ggufUnsupported(path, `GGUF version ${version}, expected 2 or 3`, CONVERT_AGAIN);
    }
    return version;
  }

  #readMetadata(): GgufMetadata {
    const path = this.#path;
    const count = this.#readCount('metadata entries', MIN_METADATA_BYTES, LIMITS.ggufMetadata);
    const metadata = new Map<string, GgufValue>();
    for (let i = 0; i < count; i++) {
      const key = this.#readText(`key of metadata entry ${i}`, LIMITS.ggufKeyBytes);
      if (key === '') throw ggufInvalid(path, `metadata entry ${i} has an empty key`);
      if (metadata.has(key)) throw ggufInvalid(path, `metadata key "${key}" occurs twice`);
      metadata.set(key, this.#readValue(key));
    }
    return metadata;
  }

  #readValue(key: string): GgufValue {
    const type = this.#readType(`metadata "${key}"`);
    if (type !== 'array') return { type, value: this.#readScalar(type, key) } as GgufValue;
    const of = this.#readType(`elements of metadata "${key}"`);
    if (of === 'array') throw ggufUnsupported(this.#path, `metadata "${key}" is an array of arrays`);
    const most = LIMITS.ggufArrayElements - this.#arrayElements;
    const least = of === 'string' ? 8 : of === 'bool' ? 1 : GGUF_NUMBERS[of].bytes;
    const count = this.#readCount(`elements of metadata "${key}"`, least, most);
    this.#arrayElements += count;
    const value: unknown[] = new Array(count);
    for (let i = 0; i < count; i++) value[i] = this.#readScalar(of, key);
    return { type, of, value } as GgufValue;
  }

  #readType(what: string): GgufValueType {
    const id = this.#cursor.number('uint32');
    const type = GGUF_VALUE_TYPES[id];
    if (type === undefined) throw ggufInvalid(this.#path, `${what} has value type ${id}, expected 0 to 12`);
    return type;
  }

  #readScalar(type: Exclude<GgufValueType, 'array'>, key: string): number | bigint | boolean | string {
    if (type === 'string') return this.#readText(`metadata "${key}"`, LIMITS.ggufStringBytes);
    if (type !== 'bool') return this.#cursor.number(type);
    const byte = this.#cursor.number('uint8');
    if (byte > 1) throw ggufInvalid(this.#path, `metadata "${key}" is the truth value ${byte}, expected 0 or 1`);
    return byte === 1;
  }

  #readText(what: string, mostBytes: number): string {
    const length = this.#readCount(`bytes in ${what}`, 1, mostBytes);
    try {
      return UTF8.decode(this.#cursor.bytes(length));
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
      throw ggufInvalid(this.#path, `${what} is not UTF-8`);
    }
  }

  /** The next count, when so many items can be in what is left of the file. */
  #readCount(what: string, minBytes: number, most: number): number {
    return this.#counted(this.#cursor.number('uint64'), what, minBytes, most);
  }

  #counted(count: bigint, what: string, minBytes: number, most: number): number {
    if (this.#cursor.position > LIMITS.ggufHeaderBytes) {
      throw ggufInvalid(this.#path, `its header is longer than ${LIMITS.ggufHeaderBytes} bytes`);
    }
    const fit = Math.floor(this.#cursor.remaining / minBytes);
    if (count > BigInt(fit)) {
      throw ggufInvalid(this.#path, `${count} ${what}, but only ${this.#cursor.remaining} bytes of the file are left`);
    }
    if (count > BigInt(most)) throw ggufInvalid(this.#path, `${count} ${what}, expected at most ${most}`);
    return Number(count);
  }

  #alignmentOf(metadata: GgufMetadata): number {
    const given = metadata.get('general.alignment');
    if (given === undefined) return GGUF_DEFAULT_ALIGNMENT;
    if (given.type !== 'uint32') throw ggufInvalid(this.#path, `general.alignment is ${given.type}, expected uint32`);
    const { value } = given;
    if (value < 8 || (value & (value - 1)) !== 0) {
      throw ggufInvalid(this.#path, `general.alignment is ${value}, expected a power of two of at least 8`);
    }
    return value;
  }

  /** The tensor table. @throws CrayonError `gguf-invalid` naming all tensors that are bad on their own */
  #readTensors(given: bigint, alignment: number): ReadonlyMap<string, GgufTensorInfo> {
    const cursor = this.#cursor;
    const path = this.#path;
    const count = this.#counted(given, 'tensors', MIN_TENSOR_BYTES, LIMITS.ggufTensors);
    const tensors = new Map<string, GgufTensorInfo>();
    const bad: string[] = [];
    for (let i = 0; i < count; i++) {
      const name = this.#readText(`name of tensor ${i}`, LIMITS.ggufNameBytes);
      if (tensors.has(name)) throw ggufInvalid(path, `tensor "${name}" occurs twice`);
      const dims = cursor.number('uint32');
      if (dims > LIMITS.ggufDimensions) {
        throw ggufInvalid(path, `tensor "${name}" has ${dims} dimensions, expected at most ${LIMITS.ggufDimensions}`);
      }
      const sizes = Array.from({ length: dims }, () => cursor.number('uint64'));
      const info = describe(name, sizes, cursor.number('uint32'), cursor.number('uint64'), alignment);
      if (typeof info === 'string') bad.push(`tensor "${name}" ${info}`);
      // A bad one keeps its name, so that a second of the same name is seen.
      tensors.set(name, typeof info === 'string' ? { name, shape: [], type: 'F32', offset: 0, bytes: 0 } : info);
    }
    this.#refuse(bad);
    return tensors;
  }

  #refuse(bad: readonly string[]): void {
    if (bad.length > 0) throw ggufInvalid(this.#path, abridge(bad, SHOWN));
  }
}

/** Keeps a byte order mark, which is a token of real vocabularies. */
const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * A forward reader over an open file: little-endian numbers and texts, through a window that moves with it, so that what is
 * held in memory does not depend on the file's size.
 */
class ByteCursor {
  /** Byte of the file that the next read starts at. */
  position = 0;
  #window = Buffer.alloc(0);
  #windowStart = 0;

  constructor(
    readonly fd: number,
    readonly sizeBytes: number,
    readonly path: string,
  ) {}

  get remaining(): number {
    return this.sizeBytes - this.position;
  }

  number<T extends GgufNumberType>(type: T): GgufNumber<T> {
    const { bytes, read } = GGUF_NUMBERS[type];
    const at = this.#take(bytes); // before the window is named: it may move
    return read(this.#window, at) as GgufNumber<T>;
  }

  /** The next `count` bytes; they stay valid until the next read only. */
  bytes(count: number): Uint8Array {
    const at = this.#take(count);
    return this.#window.subarray(at, at + count);
  }

  /** Makes the next `count` bytes part of the window; returns where they start in it. */
  #take(count: number): number {
    if (count > this.remaining) {
      const needed = `${count} bytes expected at byte ${this.position}`;
      throw ggufInvalid(this.path, `ends at byte ${this.sizeBytes}, within the header: ${needed}`);
    }
    const end = this.#windowStart + this.#window.byteLength;
    if (this.position + count > end) {
      const length = Math.min(Math.max(count, WINDOW_BYTES), this.remaining);
      this.#window = Buffer.alloc(length);
      this.#windowStart = this.position;
      readFully(this.fd, this.#window, this.position, this.path);
    }
    const at = this.position - this.#windowStart;
    this.position += count;
    return at;
  }
}

/** The tensor, or what is wrong with it. */
function describe(
  name: string,
  sizes: bigint[],
  typeId: number,
  offset: bigint,
  alignment: number,
): GgufTensorInfo | string {
  const encoding = ENCODINGS.get(typeId);
  if (encoding === undefined) return `has type ${typeId}, which is unknown`;
  if (sizes.some((size) => size === 0n)) return `has a size of 0 in [${sizes}]`;
  const elements = sizes.reduce((product, size) => product * size, 1n);
  if (elements > BigInt(Number.MAX_SAFE_INTEGER)) return `has ${elements} elements, too many to count`;
  const row = sizes[0] ?? 1n; // GGUF's first size is the innermost: one row
  if (row % BigInt(encoding.block) !== 0n) {
    return `has rows of ${row} elements, expected a multiple of ${encoding.block} for ${encoding.name}`;
  }
  if (offset % BigInt(alignment) !== 0n)
    return `starts at ${offset}, expected a multiple of the alignment ${alignment}`;
  const bytes = (elements / BigInt(encoding.block)) * BigInt(encoding.bytes);
  if (offset + bytes > BigInt(Number.MAX_SAFE_INTEGER)) return `ends at byte ${offset + bytes}, beyond any file`;
  return {
    name,
    shape: sizes.map(Number).reverse(),
    type: encoding.name,
    offset: Number(offset),
    bytes: Number(bytes),
  };
}

/** Tensors that reach beyond the data section or into the next one. */
function misplaced(tensors: GgufTensorInfo[], dataBytes: number): string[] {
  const bad: string[] = [];
  const sorted = tensors.toSorted((a, b) => a.offset - b.offset);
  for (const [i, { name, offset, bytes }] of sorted.entries()) {
    const end = offset + bytes;
    if (end > dataBytes) bad.push(`tensor "${name}" ends at byte ${end} of a data section of ${dataBytes}: cut short`);
    const next = sorted[i + 1];
    if (next !== undefined && next.offset < end) bad.push(`tensors "${name}" and "${next.name}" overlap`);
  }
  return bad;
}
