/** The tensor table of a GGUF header: names, shapes, types and places, checked against each other and the file's size. */

import { abridge } from '../core/format.js';
import type { ByteCursor } from './byte-cursor.js';
import { ggufInvalid } from './errors.js';
import { GGML_OPAQUE_TYPES, GGML_TYPES, type GgufTensorInfo } from './types.js';

/** What the table needs of the reader around it. */
export interface TensorTableReader {
  cursor: ByteCursor;
  path: string;
  sizeBytes: number;
  alignment: number;
  /** tensors, as the file says */
  count: bigint;
  readCount(count: bigint, what: string, minBytes: number, most: number): number;
  readText(what: string, mostBytes: number): string;
}

/** ggml's own: GGML_MAX_DIMS, GGML_MAX_NAME. */
const MAX_DIMS = 4;
const MAX_NAME_BYTES = 64;
const MAX_TENSORS = 131_072;
/** A name of one byte, dimension count, type, offset. */
const MIN_TENSOR_BYTES = 8 + 1 + 4 + 4 + 8;
/** Bad tensors named in one message. */
const SHOWN = 10;

type StoredType = GgufTensorInfo['type'];

interface Encoding {
  name: StoredType;
  block: number;
  bytes: number;
}

const ENCODINGS = new Map<number, Encoding>(
  Object.entries({ ...GGML_TYPES, ...GGML_OPAQUE_TYPES }).map(([name, { id, block, bytes }]) => [
    id,
    { name: name as StoredType, block, bytes },
  ]),
);

/**
 * Reads the table; the cursor stands at its start.
 *
 * @throws CrayonError `gguf-invalid` naming all tensors that are bad on their own, or all pairs that overlap
 */
export function readGgufTensors(reader: TensorTableReader): {
  tensors: ReadonlyMap<string, GgufTensorInfo>;
  dataStart: number;
} {
  const { cursor, path, alignment } = reader;
  const count = reader.readCount(reader.count, 'tensors', MIN_TENSOR_BYTES, MAX_TENSORS);
  const tensors = new Map<string, GgufTensorInfo>();
  const bad: string[] = [];
  for (let i = 0; i < count; i++) {
    const name = reader.readText(`name of tensor ${i}`, MAX_NAME_BYTES);
    if (tensors.has(name)) throw ggufInvalid(path, `tensor "${name}" occurs twice`);
    const dims = cursor.u32();
    if (dims > MAX_DIMS)
      throw ggufInvalid(path, `tensor "${name}" has ${dims} dimensions, expected at most ${MAX_DIMS}`);
    const sizes = Array.from({ length: dims }, () => cursor.u64());
    const [typeId, offset] = [cursor.u32(), cursor.u64()];
    const info = describe(name, sizes, typeId, offset, alignment);
    if (typeof info === 'string') bad.push(`tensor "${name}" ${info}`);
    // A bad one keeps its name, so that a second of the same name is seen.
    tensors.set(name, typeof info === 'string' ? { name, shape: [], type: 'F32', offset: 0, bytes: 0 } : info);
  }
  refuse(path, bad);

  const dataStart = Math.ceil(cursor.position / alignment) * alignment;
  refuse(path, misplaced([...tensors.values()], Math.max(0, reader.sizeBytes - dataStart)));
  return { tensors, dataStart };
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

function refuse(path: string, bad: string[]): void {
  if (bad.length === 0) return;
  throw ggufInvalid(path, abridge(bad, SHOWN));
}
