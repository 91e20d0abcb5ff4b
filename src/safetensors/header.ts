/**
 * The safetensors header: 8 bytes little-endian length, then JSON (https://github.com/huggingface/safetensors).
 *
 * Validation follows the reference implementation (`safetensors/src/tensor.rs`), case by case, and adds the format
 * text's rule against duplicate keys, which the reference leaves to its JSON library.
 */

import { CrayonError } from '../core/errors.js';
import { abridge, shown } from '../core/format.js';
import { LIMITS } from '../core/limits.js';
import { decodeUtf8, findDuplicateKey, isJsonObject, type JsonObject, jsonProblem, jsonValue } from '../files/json.js';

/**
 * Element types this project reads and writes, in the reference's order (`enum Dtype`), with the typed array that holds a
 * type's elements; 16- and 8-bit floats as their bits.
 */
export const ARRAY_OF = {
  BOOL: Uint8Array,
  U8: Uint8Array,
  I8: Int8Array,
  F8_E5M2: Uint8Array,
  F8_E4M3: Uint8Array,
  I16: Int16Array,
  U16: Uint16Array,
  F16: Uint16Array,
  BF16: Uint16Array,
  I32: Int32Array,
  U32: Uint32Array,
  F32: Float32Array,
  F64: Float64Array,
  I64: BigInt64Array,
  U64: BigUint64Array,
};

export type Dtype = keyof typeof ARRAY_OF;

const DTYPES = Object.keys(ARRAY_OF) as Dtype[];

/** Bytes of one element. */
export const bytesPer = (dtype: Dtype) => ARRAY_OF[dtype].BYTES_PER_ELEMENT;

/** Whether the elements can be read as float32. */
export const isFloat = (dtype: Dtype) => ['F64', 'F32', 'F16', 'BF16'].includes(dtype);

/** One tensor of a file. */
export interface TensorInfo {
  dtype: Dtype;
  /** Row-major; `[]` is a scalar. */
  shape: number[];
  /** First byte and end byte within the data section. */
  dataOffsets: [number, number];
}

export interface SafetensorsHeader {
  tensors: Map<string, TensorInfo>;
  metadata: Record<string, string>;
}

/** Bytes of the length field before the header. */
export const LENGTH_BYTES = 8;

const METADATA_KEY = '__metadata__';

function invalid(path: string, problem: string, cause?: unknown): CrayonError {
  return new CrayonError('safetensors-invalid', `${path}: ${problem}`, {
    hint: 'The file is damaged, incomplete, or no safetensors file.',
    cause,
  });
}

/**
 * Checks the length field against the file's size.
 *
 * @param field the file's first 8 bytes, or fewer when the file is shorter
 * @returns the header's length in bytes
 */
export function parseHeaderLength(field: Uint8Array, fileBytes: number, path: string): number {
  if (field.byteLength < LENGTH_BYTES) {
    throw invalid(path, `${fileBytes} bytes long, expected at least the ${LENGTH_BYTES} of the header length`);
  }
  const length = new DataView(field.buffer, field.byteOffset).getBigUint64(0, true);
  if (length > LIMITS.safetensorsHeaderBytes) {
    throw invalid(path, `header length ${length}, expected at most ${LIMITS.safetensorsHeaderBytes}`);
  }
  if (Number(length) > fileBytes - LENGTH_BYTES) {
    throw invalid(path, `header length ${length} in a file of ${fileBytes} bytes`);
  }
  return Number(length);
}

/**
 * Parses and validates the JSON header.
 *
 * @param dataBytes size of the data section, which the tensors must fill exactly
 */
export function parseHeader(bytes: Uint8Array, dataBytes: number, path: string): SafetensorsHeader {
  if (bytes[0] !== 0x7b) throw invalid(path, 'header does not start with "{"');
  const text = decodeUtf8(bytes, path, 'safetensors-invalid');
  let json: unknown;
  try {
    json = jsonValue(text);
  } catch (error) {
    throw invalid(path, `header is ${jsonProblem(error)}`, error);
  }
  if (!isJsonObject(json)) throw invalid(path, 'header is not a JSON object');
  const duplicate = findDuplicateKey(text);
  if (duplicate !== undefined) throw invalid(path, `key "${duplicate}" occurs twice in one object of the header`);

  const metadata = parseMetadata(json, path);
  const tensors = new Map<string, TensorInfo>();
  const problems: string[] = [];
  for (const [name, value] of Object.entries(json)) {
    if (name === METADATA_KEY) continue;
    const info = parseTensorInfo(value);
    if (typeof info === 'string') problems.push(`tensor "${name}": ${info}`);
    else tensors.set(name, info);
  }
  if (problems.length === 0) checkLayout(tensors, dataBytes, problems);
  if (problems.length > 0) {
    throw invalid(path, abridge(problems, 10));
  }
  return { tensors, metadata };
}

function parseMetadata(json: JsonObject, path: string): Record<string, string> {
  if (!Object.hasOwn(json, METADATA_KEY)) return {};
  const metadata = json[METADATA_KEY];
  if (!isJsonObject(metadata)) throw invalid(path, `${METADATA_KEY} is not an object`);
  for (const [key, value] of Object.entries(metadata)) {
    if (typeof value !== 'string') throw invalid(path, `${METADATA_KEY} value of "${key}" is not a string`);
  }
  return metadata as Record<string, string>;
}

/** The tensor's description, or what is wrong with it. */
function parseTensorInfo(value: unknown): TensorInfo | string {
  if (!isJsonObject(value)) return 'expected an object with dtype, shape and data_offsets';
  const { dtype, shape, data_offsets: offsets } = value;
  if (!DTYPES.includes(dtype as Dtype)) {
    return `dtype ${shown(dtype)}, expected one of ${DTYPES.join(' ')}`;
  }
  if (!Array.isArray(shape) || !shape.every(isSize)) {
    return `shape ${shown(shape)}, expected a list of whole numbers from 0`;
  }
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isSize)) {
    return `data_offsets ${shown(offsets)}, expected two whole numbers from 0`;
  }
  const [start, end] = offsets as [number, number];
  if (end < start) return `data_offsets [${start}, ${end}] end before they start`;
  const size = byteSize(dtype as Dtype, shape);
  if (size === undefined) return `shape [${shape}] overflows: its byte size is beyond 2^53`;
  if (end - start !== size) {
    return `data_offsets [${start}, ${end}] hold ${end - start} bytes, expected ${size} for ${dtype} [${shape}]`;
  }
  return { dtype: dtype as Dtype, shape, dataOffsets: [start, end] };
}

/** Bytes of a tensor, or undefined when a product on the way is beyond 2^53 (even if a later size is 0). */
export function byteSize(dtype: Dtype, shape: number[]): number | undefined {
  let elements = 1;
  for (const size of shape) {
    elements *= size;
    if (!Number.isSafeInteger(elements)) return undefined;
  }
  const bytes = elements * bytesPer(dtype);
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}

/** In order of their offsets the tensors must fill the data section: no hole, no overlap, nothing after them. */
function checkLayout(tensors: Map<string, TensorInfo>, dataBytes: number, problems: string[]): void {
  const ordered = [...tensors].sort(([, a], [, b]) => {
    return a.dataOffsets[0] - b.dataOffsets[0] || a.dataOffsets[1] - b.dataOffsets[1];
  });
  let end = 0;
  for (const [name, { dataOffsets }] of ordered) {
    const [start] = dataOffsets;
    if (start < end)
      problems.push(`tensor "${name}": starts at byte ${start}, overlapping the one that ends at ${end}`);
    if (start > end) problems.push(`tensor "${name}": starts at byte ${start}, leaving a hole from ${end}`);
    end = Math.max(end, dataOffsets[1]);
  }
  if (end > dataBytes) problems.push(`data section of ${dataBytes} bytes, expected ${end}: the file is cut short`);
  if (end < dataBytes) problems.push(`data section of ${dataBytes} bytes, expected ${end}: trailing bytes`);
}

function isSize(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

/** Where one tensor goes in a file to be written. */
export interface TensorPlace extends TensorInfo {
  name: string;
}

/**
 * Lays tensors out as the reference serializer does: by dtype in descending order, then by name (UTF-8 bytes), so that
 * every tensor is aligned to its element size; the header padded with spaces to a multiple of 8 bytes.
 *
 * @returns the length field and header as bytes, the tensors in file order, the size of the data section
 */
export function layOut(
  tensors: ReadonlyArray<{ name: string; dtype: Dtype; shape: readonly number[] }>,
  metadata?: Record<string, string>,
): { head: Uint8Array; places: TensorPlace[]; dataBytes: number } {
  const ordered = tensors
    .map((tensor) => ({ ...tensor, rank: DTYPES.indexOf(tensor.dtype), key: Buffer.from(tensor.name, 'utf8') }))
    .sort((a, b) => b.rank - a.rank || Buffer.compare(a.key, b.key));
  let end = 0;
  const places = ordered.map(({ name, dtype, shape }): TensorPlace => {
    const start = end;
    const size = byteSize(dtype, [...shape]);
    if (size === undefined) throw new RangeError(`tensor "${name}": shape [${shape}] overflows`);
    end += size;
    return { name, dtype, shape: [...shape], dataOffsets: [start, end] };
  });
  const entries = places.map(({ name, dtype, shape, dataOffsets }) => {
    return `${JSON.stringify(name)}:${JSON.stringify({ dtype, shape, data_offsets: dataOffsets })}`;
  });
  if (metadata !== undefined) entries.unshift(`"${METADATA_KEY}":${JSON.stringify(metadata)}`);
  const json = Buffer.from(`{${entries.join(',')}}`, 'utf8');
  const padded = Math.ceil(json.byteLength / 8) * 8;
  const head = new Uint8Array(LENGTH_BYTES + padded).fill(0x20);
  new DataView(head.buffer).setBigUint64(0, BigInt(padded), true);
  head.set(json, LENGTH_BYTES);
  return { head, places, dataBytes: end };
}
