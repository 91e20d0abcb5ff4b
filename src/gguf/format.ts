/**
 * The GGUF container (github.com/ggml-org/ggml, docs/gguf.md, version 3): the types of its metadata, shared by reader and
 * writer, access to it, and what a bad file is refused with.
 */

import { CrayonError } from '../core/errors.js';
import type { GgmlOpaqueType, GgmlType } from './types.js';

export const GGUF_MAGIC = 0x46554747; // 'GGUF', little-endian
export const GGUF_VERSION = 3;
export const GGUF_DEFAULT_ALIGNMENT = 32;

/** Value types of metadata, by their number in the file. */
export const GGUF_VALUE_TYPES = [
  'uint8',
  'int8',
  'uint16',
  'int16',
  'uint32',
  'int32',
  'float32',
  'bool',
  'string',
  'array',
  'uint64',
  'int64',
  'float64',
] as const;
export type GgufValueType = (typeof GGUF_VALUE_TYPES)[number];

type BigType = 'uint64' | 'int64';
export type GgufNumberType = Exclude<GgufValueType, 'bool' | 'string' | 'array'>;
type SmallType = Exclude<GgufNumberType, BigType>;
export type GgufNumber<T extends GgufNumberType> = T extends BigType ? bigint : number;

interface NumberCodec<T> {
  bytes: number;
  read(from: Buffer, at: number): T;
  /** @returns where the next value goes; a number out of the type's range is a RangeError */
  write(to: Buffer, at: number, value: T): number;
}

/** How numbers lie in the file: little-endian. */
export const GGUF_NUMBERS: { readonly [T in GgufNumberType]: NumberCodec<GgufNumber<T>> } = {
  uint8: { bytes: 1, read: (b, at) => b.readUInt8(at), write: (b, at, x) => b.writeUInt8(x, at) },
  int8: { bytes: 1, read: (b, at) => b.readInt8(at), write: (b, at, x) => b.writeInt8(x, at) },
  uint16: { bytes: 2, read: (b, at) => b.readUInt16LE(at), write: (b, at, x) => b.writeUInt16LE(x, at) },
  int16: { bytes: 2, read: (b, at) => b.readInt16LE(at), write: (b, at, x) => b.writeInt16LE(x, at) },
  uint32: { bytes: 4, read: (b, at) => b.readUInt32LE(at), write: (b, at, x) => b.writeUInt32LE(x, at) },
  int32: { bytes: 4, read: (b, at) => b.readInt32LE(at), write: (b, at, x) => b.writeInt32LE(x, at) },
  float32: { bytes: 4, read: (b, at) => b.readFloatLE(at), write: (b, at, x) => b.writeFloatLE(x, at) },
  uint64: { bytes: 8, read: (b, at) => b.readBigUInt64LE(at), write: (b, at, x) => b.writeBigUInt64LE(x, at) },
  int64: { bytes: 8, read: (b, at) => b.readBigInt64LE(at), write: (b, at, x) => b.writeBigInt64LE(x, at) },
  float64: { bytes: 8, read: (b, at) => b.readDoubleLE(at), write: (b, at, x) => b.writeDoubleLE(x, at) },
};

/** A metadata value with its type, so that what is read can be written again byte for byte. */
export type GgufValue =
  | { type: SmallType; value: number }
  | { type: BigType; value: bigint }
  | { type: 'bool'; value: boolean }
  | { type: 'string'; value: string }
  | { type: 'array'; of: 'string'; value: string[] }
  | { type: 'array'; of: 'bool'; value: boolean[] }
  | { type: 'array'; of: BigType; value: bigint[] }
  | { type: 'array'; of: SmallType; value: number[] };

export type GgufMetadata = ReadonlyMap<string, GgufValue>;

export interface GgufTensorInfo {
  name: string;
  /** as in PyTorch, outermost first: GGUF's own order reversed */
  shape: number[];
  type: GgmlType | GgmlOpaqueType;
  /** from the start of the data section */
  offset: number;
  bytes: number;
}

/** The file is bad. */
export function ggufInvalid(path: string, problem: string, hint?: string): CrayonError {
  // Names and texts come from the file: one of them alone could be thousands of characters long.
  const shown = problem.length > 1000 ? `${problem.slice(0, 1000)}...` : problem;
  return new CrayonError('gguf-invalid', `${path}: ${shown}`, {
    hint: hint ?? 'The file is damaged, cut short or was not written as GGUF: fetch or export it again.',
  });
}

/** The file may be good, but crayon does not read it. */
export function ggufUnsupported(path: string, problem: string, hint?: string): CrayonError {
  return new CrayonError('gguf-unsupported', `${path}: ${problem}`, { hint });
}

/** `llama_token_type` in llama.h: `tokenizer.ggml.token_type` of each token. */
export const TOKEN_TYPE = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const;

/** A file's metadata, and its path for errors. */
export interface GgufFields {
  readonly metadata: GgufMetadata;
  readonly path: string;
}

/**
 * Typed access to metadata: undefined where the key is absent.
 *
 * @throws CrayonError `gguf-invalid` where the value is of another type than its key promises
 */
type Access<V> = (file: GgufFields, key: string) => V | undefined;

function access<V>(expected: string, pick: (entry: GgufValue) => V | undefined): Access<V> {
  return ({ metadata, path }, key) => {
    const entry = metadata.get(key);
    if (entry === undefined) return undefined;
    const value = pick(entry);
    if (value !== undefined) return value;
    const found = entry.type === 'array' ? `an array of ${entry.of}` : entry.type;
    throw ggufInvalid(path, `${key} is ${found}, expected ${expected}`);
  };
}

export const ggufString = access('string', (entry) => (entry.type === 'string' ? entry.value : undefined));

export const ggufBool = access('bool', (entry) => (entry.type === 'bool' ? entry.value : undefined));

/** A number of any width; 64-bit ones are rounded to a double. */
export const ggufNumber = access('a number', ({ value }) =>
  typeof value === 'number' || typeof value === 'bigint' ? Number(value) : undefined,
);

export const ggufStrings = access<readonly string[]>('an array of string', (entry) =>
  entry.type === 'array' && entry.of === 'string' ? entry.value : undefined,
);

/** Numbers of 32 bits or fewer, or doubles. */
export const ggufNumbers = access<readonly number[]>('an array of numbers', (entry) => {
  if (entry.type !== 'array' || ['string', 'bool', 'uint64', 'int64'].includes(entry.of)) return undefined;
  return entry.value as number[];
});

/** A whole number of at least `least`. @throws CrayonError `gguf-invalid` */
export function ggufCount(file: GgufFields, key: string, least = 1): number | undefined {
  const value = ggufNumber(file, key);
  if (value === undefined || (Number.isSafeInteger(value) && value >= least)) return value;
  throw ggufInvalid(file.path, `${key} is ${value}, expected a whole number of at least ${least}`);
}
