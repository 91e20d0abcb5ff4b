/** safetensors files: the header as a tree, tensors as a whole with their data laid out anew, the length field, the data. */

import type { Random } from '../../../src/core/random.js';
import { mutateBytes } from './bytes.js';
import { mutateJson, type Words } from './json.js';
import { ODD_TEXTS, oneIn, pick, small } from './odd.js';

interface Entry {
  dtype: string;
  shape: number[];
  data_offsets: [number, number];
}
const WIDTHS: Record<string, number> = {
  BOOL: 1,
  U8: 1,
  I8: 1,
  F8_E5M2: 1,
  F8_E4M3: 1,
  I16: 2,
  U16: 2,
  F16: 2,
  BF16: 2,
  I32: 4,
  U32: 4,
  F32: 4,
  F64: 8,
  I64: 8,
  U64: 8,
};

/** Length field, header, data: of any header text. */
export function assemble(header: string | Buffer, data: Buffer, length?: bigint): Buffer {
  const text = Buffer.from(header);
  const field = Buffer.alloc(8);
  field.writeBigUInt64LE(BigInt.asUintN(64, length ?? BigInt(text.length)));
  return Buffer.concat([field, text, data]);
}

export function mutateSafetensors(bytes: Buffer, random: Random, words: Words): Buffer {
  const length = bytes.length < 8 ? bytes.length : Number(bytes.readBigUInt64LE());
  let header: Record<string, unknown>;
  try {
    header = JSON.parse(bytes.toString('utf8', 8, 8 + length));
    if (typeof header !== 'object' || header === null) throw new Error('no object');
    JSON.stringify(header);
  } catch {
    return mutateBytes(bytes, random);
  }
  const data = bytes.subarray(8 + length);
  switch (random.int(8)) {
    case 0:
    case 1:
    case 2:
      return assemble(
        mutateJson(Buffer.from(JSON.stringify(header)), random, [...words, ...Object.keys(WIDTHS)]),
        data,
      );
    case 3: {
      const odd = pick(random, [
        0n,
        1n,
        7n,
        BigInt(length + 1),
        BigInt(length + 8),
        BigInt(bytes.length),
        2n ** 32n,
        2n ** 63n,
        2n ** 64n - 1n,
      ]);
      return assemble(bytes.subarray(8, 8 + length), data, oneIn(random, 3) ? BigInt(Math.max(0, length - 1)) : odd);
    }
    case 4: {
      const copy = Buffer.from(data); // numbers that are none, and large ones
      const value = pick(random, [Number.NaN, Number.POSITIVE_INFINITY, 3e38, 1e-45, 0, -1, 65504]);
      if (copy.length >= 4) copy.writeFloatLE(value, random.int(Math.floor((copy.length - 4) / 4) + 1) * 4);
      return assemble(bytes.subarray(8, 8 + length), copy);
    }
    case 5:
      return mutateBytes(bytes, random);
    default:
      return relaid(header as Record<string, Entry>, data, random, words);
  }
}

/** A file that is sound in itself, with other tensors: one more, one fewer, another name, shape or type. */
function relaid(header: Record<string, Entry>, data: Buffer, random: Random, words: Words): Buffer {
  const { __metadata__: metadata, ...rest } = header as Record<string, Entry> & { __metadata__?: unknown };
  const tensors = Object.entries(rest).filter(
    ([, entry]) => Array.isArray(entry?.data_offsets) && Array.isArray(entry.shape),
  );
  if (tensors.length === 0) return assemble('{}', data);
  const index = random.int(tensors.length);
  const [name, entry] = tensors[index]!;
  const changed = { ...entry, shape: [...entry.shape] };
  const axis = random.int(Math.max(1, changed.shape.length));
  switch (random.int(7)) {
    case 0:
      tensors.splice(index, 1);
      break;
    case 1:
      tensors.push([`${name}${pick(random, ['', '.weight', '2'])}x`, changed]);
      break;
    case 2:
      tensors[index] = [pick(random, oneIn(random, 2) && words.length > 0 ? words : ODD_TEXTS), changed];
      break;
    case 3:
      changed.shape[axis] = small(random, 6) + (oneIn(random, 2) ? (changed.shape[axis] ?? 0) : 0);
      break;
    case 4:
      changed.dtype = pick(random, Object.keys(WIDTHS));
      break;
    case 5:
      changed.shape = pick(random, [
        [],
        [0],
        [1, ...changed.shape],
        changed.shape.toReversed(),
        changed.shape.concat(1),
        [changed.shape.reduce((a, b) => a * b, 1)],
      ]);
      break;
    default:
      tensors.reverse();
  }
  if (tensors[index]?.[0] === name) tensors[index] = [name, changed];
  let end = 0;
  const pieces: Buffer[] = [];
  const laid = tensors.map(
    ([
      key,
      {
        dtype,
        shape,
        data_offsets: [from, to],
      },
    ]) => {
      const bytes = Math.min(2 ** 20, shape.reduce((a, b) => a * b, 1) * (WIDTHS[dtype] ?? 1));
      const piece = Buffer.alloc(Number.isFinite(bytes) && bytes > 0 ? bytes : 0);
      data.subarray(from, to).copy(piece);
      pieces.push(piece);
      const start = end;
      end += piece.length;
      return `${JSON.stringify(key)}:${JSON.stringify({ dtype, shape, data_offsets: [start, end] })}`;
    },
  );
  if (metadata !== undefined) laid.unshift(`"__metadata__":${JSON.stringify(metadata)}`);
  return assemble(`{${laid.join(',')}}`, Buffer.concat(pieces));
}
