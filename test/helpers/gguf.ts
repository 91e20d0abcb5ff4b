/** GGUF files made byte by byte, sound or not, without the project's own writer. */

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { temporaryDir } from './files.js';

export const VALUE = {
  uint8: 0,
  int8: 1,
  uint16: 2,
  int16: 3,
  uint32: 4,
  int32: 5,
  float32: 6,
  bool: 7,
  string: 8,
  array: 9,
  uint64: 10,
  int64: 11,
  float64: 12,
};

export const u8 = (x: number): Buffer => Buffer.of(x);
export function u32(x: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(x);
  return bytes;
}
export function u64(x: number | bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(x));
  return bytes;
}
export function f32(...values: number[]): Buffer {
  return Buffer.from(Float32Array.from(values).buffer);
}
/** A text with its length, or with a length that is none of its own. */
export function text(value: string | Buffer, length?: number | bigint): Buffer {
  const bytes = Buffer.from(value as string);
  return Buffer.concat([u64(length ?? bytes.length), bytes]);
}
/** One metadata entry; `value` holds the bytes after the type. */
export function entry(key: string | Buffer, type: number, value: Buffer): Buffer {
  return Buffer.concat([Buffer.isBuffer(key) ? key : text(key), u32(type), value]);
}
export const stringEntry = (key: string, value: string): Buffer => entry(key, VALUE.string, text(value));
export const uintEntry = (key: string, value: number): Buffer => entry(key, VALUE.uint32, u32(value));
export const floatEntry = (key: string, value: number): Buffer => entry(key, VALUE.float32, f32(value));
export const boolEntry = (key: string, value: boolean): Buffer => entry(key, VALUE.bool, u8(value ? 1 : 0));
export function arrayEntry(key: string, of: number, items: Buffer[], count: number | bigint = items.length): Buffer {
  return entry(key, VALUE.array, Buffer.concat([u32(of), u64(count), ...items]));
}
export const stringsEntry = (key: string, items: readonly string[]): Buffer =>
  arrayEntry(
    key,
    VALUE.string,
    items.map((item) => text(item)),
  );

export interface TensorBytes {
  name: string;
  /** innermost first, as in the file */
  sizes: Array<number | bigint>;
  /** ggml's number of the type; F32 when not given */
  type?: number;
  offset: number | bigint;
}

export interface GgufSpec {
  magic?: string;
  version?: number;
  metadata?: Buffer[];
  metadataCount?: number | bigint;
  tensors?: TensorBytes[];
  tensorCount?: number | bigint;
  alignment?: number;
  data?: Buffer;
}

/** A whole file: header, padding to the alignment, data. */
export function ggufBytes(spec: GgufSpec): Buffer {
  const { magic = 'GGUF', version = 3, metadata = [], tensors = [], alignment = 32, data = Buffer.alloc(0) } = spec;
  const header = Buffer.concat([
    Buffer.from(magic, 'latin1'),
    u32(version),
    u64(spec.tensorCount ?? tensors.length),
    u64(spec.metadataCount ?? metadata.length),
    ...metadata,
    ...tensors.flatMap(({ name, sizes, type = 0, offset }) => [
      ...[text(name), u32(sizes.length), ...sizes.map((size) => u64(size)), u32(type), u64(offset)],
    ]),
  ]);
  const padding = data.length === 0 ? 0 : Math.ceil(header.length / alignment) * alignment - header.length;
  return Buffer.concat([header, Buffer.alloc(padding), data]);
}

/** Writes bytes into a directory that is removed when the test is over. */
export function ggufPath(bytes: Uint8Array, name = 'file.gguf'): string {
  const path = join(temporaryDir(), name);
  writeFileSync(path, bytes);
  return path;
}

/** A file of whole tensors, each at the next multiple of 32 bytes; `shape` outermost first, as in PyTorch. */
export function ggufModel(
  metadata: Buffer[],
  tensors: Array<{ name: string; shape: number[]; type: number; bytes: Uint8Array }>,
): Buffer {
  let offset = 0;
  const parts: Buffer[] = [];
  const table = tensors.map(({ name, shape, type, bytes }) => {
    const start = offset;
    const padded = Buffer.alloc(Math.ceil(bytes.byteLength / 32) * 32);
    padded.set(bytes);
    parts.push(padded);
    offset += padded.length;
    return { name, sizes: shape.toReversed(), type, offset: start };
  });
  return ggufBytes({ metadata, tensors: table, data: Buffer.concat(parts) });
}
