/**
 * The header of a GGUF file (github.com/ggml-org/ggml, docs/gguf.md): magic, version, metadata, tensor table.
 *
 * Everything that the file says of itself is bounded before it is used: a count by the bytes that so many items need at
 * least, a length by what is left of the file, the header as a whole by constants far above real models'.
 */

import { ByteCursor } from './byte-cursor.js';
import { ggufInvalid, ggufUnsupported } from './errors.js';
import { readGgufTensors } from './tensors.js';
import {
  GGUF_DEFAULT_ALIGNMENT,
  GGUF_MAGIC,
  GGUF_VALUE_TYPES,
  type GgufMetadata,
  type GgufTensorInfo,
  type GgufValue,
  type GgufValueType,
} from './types.js';

export interface GgufHeader {
  version: number;
  metadata: GgufMetadata;
  tensors: ReadonlyMap<string, GgufTensorInfo>;
  /** bytes; a power of two */
  alignment: number;
  /** byte of the file where the data section starts */
  dataStart: number;
}

/** The specification's own limit. */
const MAX_KEY_BYTES = 65_535;
/** Real files have a few dozen. */
const MAX_METADATA = 65_536;
/** Chat templates, the longest of real texts, have some ten thousand. */
const MAX_STRING_BYTES = 2 ** 24;
/** All arrays of a file together: the largest vocabularies, of some 300,000 tokens with their merges, need a tenth of it. */
const MAX_ARRAY_ELEMENTS = 2 ** 23;
/** Everything before the data: the largest real ones have some 20 MB. */
const MAX_HEADER_BYTES = 2 ** 27;
/** Magic, version, two counts. */
const FIXED_BYTES = 24;
/** A key of one byte, a type and a value of one byte. */
const MIN_METADATA_BYTES = 8 + 1 + 4 + 1;
/** The formats of llama.cpp before GGUF, by their magic. */
const OLD_MAGICS = new Map([
  [0x67676d6c, 'ggml'],
  [0x67676d66, 'ggmf'],
  [0x67676a74, 'ggjt'],
  [0x67676c61, 'ggla'],
]);

const MIN_BYTES: Record<Exclude<GgufValueType, 'array'>, number> = {
  uint8: 1,
  int8: 1,
  bool: 1,
  uint16: 2,
  int16: 2,
  uint32: 4,
  int32: 4,
  float32: 4,
  string: 8,
  uint64: 8,
  int64: 8,
  float64: 8,
};

/** Reads and validates a whole header. @throws CrayonError `gguf-invalid`, `gguf-unsupported` */
export function readGgufHeader(fd: number, sizeBytes: number, path: string): GgufHeader {
  return new HeaderReader(fd, sizeBytes, path).read();
}

class HeaderReader {
  readonly #sizeBytes: number;
  readonly #path: string;
  readonly #cursor: ByteCursor;
  #arrayElements = 0;

  constructor(fd: number, sizeBytes: number, path: string) {
    this.#sizeBytes = sizeBytes;
    this.#path = path;
    this.#cursor = new ByteCursor(fd, sizeBytes, path, (position, needed) =>
      ggufInvalid(path, `ends at byte ${sizeBytes}, within the header: ${needed} bytes expected at byte ${position}`),
    );
  }

  read(): GgufHeader {
    const cursor = this.#cursor;
    const path = this.#path;
    const version = this.#readVersion();
    const tensorCount = cursor.u64();
    const metadataCount = this.#readCount(cursor.u64(), 'metadata entries', MIN_METADATA_BYTES, MAX_METADATA);

    const metadata = new Map<string, GgufValue>();
    for (let i = 0; i < metadataCount; i++) {
      const key = this.#readText(`key of metadata entry ${i}`, MAX_KEY_BYTES);
      if (key === '') throw ggufInvalid(path, `metadata entry ${i} has an empty key`);
      if (metadata.has(key)) throw ggufInvalid(path, `metadata key "${key}" occurs twice`);
      metadata.set(key, this.#readValue(key));
    }
    const alignment = this.#alignmentOf(metadata);
    const tensors = readGgufTensors({
      cursor,
      path,
      sizeBytes: this.#sizeBytes,
      alignment,
      count: tensorCount,
      readCount: (count, what, minBytes, most) => this.#readCount(count, what, minBytes, most),
      readText: (what, most) => this.#readText(what, most),
    });
    return { version, metadata, alignment, ...tensors };
  }

  #readVersion(): number {
    const cursor = this.#cursor;
    const path = this.#path;
    if (this.#sizeBytes < FIXED_BYTES) {
      throw ggufInvalid(path, `${this.#sizeBytes} bytes long, expected at least ${FIXED_BYTES}`);
    }
    const magic = cursor.u32();
    const old = OLD_MAGICS.get(magic);
    if (old !== undefined) {
      throw ggufUnsupported(
        path,
        `a "${old}" file, a format before GGUF`,
        'Convert the model again with a newer llama.cpp.',
      );
    }
    if (magic !== GGUF_MAGIC) {
      throw ggufInvalid(path, `starts with 0x${magic.toString(16).padStart(8, '0')}, expected the letters GGUF`);
    }
    const version = cursor.u32();
    if ((version & 0xffff) === 0 && version !== 0) {
      throw ggufUnsupported(
        path,
        'a big-endian GGUF file, expected little-endian',
        'Convert it with gguf_convert_endian.py.',
      );
    }
    if (version !== 2 && version !== 3) {
      throw ggufUnsupported(
        path,
        `GGUF version ${version}, expected 2 or 3`,
        'Convert the model again with a newer llama.cpp.',
      );
    }
    return version;
  }

  #readValue(key: string): GgufValue {
    const type = this.#readType(`metadata "${key}"`);
    if (type !== 'array') return { type, value: this.#readScalar(type, key) } as GgufValue;
    const of = this.#readType(`elements of metadata "${key}"`);
    if (of === 'array') throw ggufUnsupported(this.#path, `metadata "${key}" is an array of arrays`);
    const most = MAX_ARRAY_ELEMENTS - this.#arrayElements;
    const count = this.#readCount(this.#cursor.u64(), `elements of metadata "${key}"`, MIN_BYTES[of], most);
    this.#arrayElements += count;
    const value: unknown[] = new Array(count);
    for (let i = 0; i < count; i++) value[i] = this.#readScalar(of, key);
    return { type, of, value } as GgufValue;
  }

  #readType(what: string): GgufValueType {
    const id = this.#cursor.u32();
    const type = GGUF_VALUE_TYPES[id];
    if (type === undefined) throw ggufInvalid(this.#path, `${what} has value type ${id}, expected 0 to 12`);
    return type;
  }

  #readScalar(type: Exclude<GgufValueType, 'array'>, key: string): number | bigint | boolean | string {
    const cursor = this.#cursor;
    switch (type) {
      case 'uint8':
        return cursor.u8();
      case 'int8':
        return cursor.i8();
      case 'uint16':
        return cursor.u16();
      case 'int16':
        return cursor.i16();
      case 'uint32':
        return cursor.u32();
      case 'int32':
        return cursor.i32();
      case 'float32':
        return cursor.f32();
      case 'uint64':
        return cursor.u64();
      case 'int64':
        return cursor.i64();
      case 'float64':
        return cursor.f64();
      case 'string':
        return this.#readText(`metadata "${key}"`, MAX_STRING_BYTES);
      case 'bool': {
        const byte = cursor.u8();
        if (byte > 1) throw ggufInvalid(this.#path, `metadata "${key}" is the truth value ${byte}, expected 0 or 1`);
        return byte === 1;
      }
    }
  }

  #readText(what: string, mostBytes: number): string {
    const length = this.#readCount(this.#cursor.u64(), `bytes in ${what}`, 1, mostBytes);
    try {
      return UTF8.decode(this.#cursor.bytes(length));
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
      throw ggufInvalid(this.#path, `${what} is not UTF-8`);
    }
  }

  /** A count from the file as a number, when so many items can be in what is left of it. */
  #readCount(count: bigint, what: string, minBytes: number, most: number): number {
    if (this.#cursor.position > MAX_HEADER_BYTES) {
      throw ggufInvalid(this.#path, `its header is longer than ${MAX_HEADER_BYTES} bytes`);
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
}

/** Keeps a byte order mark, which is a token of real vocabularies. */
const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
