/**
 * GGUF files: taken apart into metadata, tensors and data, changed in one of them and put together again, with offsets laid
 * anew or left wrong. Reading and writing are this file's own, so that a fault of src/gguf is no fault here too.
 */

import type { Random } from '../../../src/core/random.js';
import { mutateBytes } from './bytes.js';
import { ODD_TEXTS, oneIn, pick, small } from './odd.js';

const WIDTHS = [1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8];
const [BOOL, TEXT, LIST] = [7, 8, 9];

/** A scalar's bytes as they stand in the file, a text's without its length. */
type Value = { type: number; bytes: Buffer } | { type: 9; of: number; items: Buffer[]; count?: bigint };
interface Tensor {
  name: Buffer;
  sizes: bigint[];
  type: number;
  offset: bigint;
}
interface File {
  version: number;
  metadata: Array<[key: Buffer, value: Value]>;
  tensors: Tensor[];
  data: Buffer;
}

const u32 = (x: number) => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(x >>> 0);
  return bytes;
};
const u64 = (x: bigint) => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt.asUintN(64, x));
  return bytes;
};
const text = (bytes: Buffer) => Buffer.concat([u64(BigInt(bytes.length)), bytes]);

function alignmentOf({ metadata }: File): number {
  const value = metadata.find(([key]) => key.toString() === 'general.alignment')?.[1];
  const given = value !== undefined && 'bytes' in value && value.bytes.length === 4 ? value.bytes.readUInt32LE() : 32;
  return given >= 8 && given <= 65536 ? given : 32;
}

/** Throws a RangeError where the file is no GGUF any more. */
function takeApart(bytes: Buffer): File {
  let at = 8;
  const take = (count: number) => {
    if (count > bytes.length - at) throw new RangeError('cut short');
    at += count;
    return bytes.subarray(at - count, at);
  };
  const number = () => take(4).readUInt32LE();
  const long = () => take(8).readBigUInt64LE();
  const scalar = (type: number) => take(type === TEXT ? Number(long()) : (WIDTHS[type] ?? 1e9));
  const counts = [Number(long()), Number(long())] as const;
  if (Math.max(...counts) > bytes.length) throw new RangeError('counts');
  const metadata = Array.from({ length: counts[1] }, (): [Buffer, Value] => {
    const key = scalar(TEXT);
    const type = number();
    if (type !== LIST) return [key, { type, bytes: scalar(type) }];
    const of = number();
    const length = Number(long());
    if (length > bytes.length) throw new RangeError('items');
    return [key, { type: 9, of, items: Array.from({ length }, () => scalar(of)) }];
  });
  const tensors = Array.from({ length: counts[0] }, (): Tensor => {
    const name = scalar(TEXT);
    const dims = number();
    if (dims > 64) throw new RangeError('dims');
    return { name, sizes: Array.from({ length: dims }, long), type: number(), offset: long() };
  });
  const file = { version: bytes.readUInt32LE(4), metadata, tensors, data: Buffer.alloc(0) };
  const alignment = alignmentOf(file);
  return { ...file, data: bytes.subarray(Math.ceil(at / alignment) * alignment) };
}

function putTogether(file: File, counts: { tensors?: bigint; metadata?: bigint } = {}): Buffer {
  const { version, metadata, tensors, data } = file;
  const head = Buffer.concat([
    Buffer.from('GGUF'),
    ...[u32(version), u64(counts.tensors ?? BigInt(tensors.length)), u64(counts.metadata ?? BigInt(metadata.length))],
    ...metadata.flatMap(([key, value]) => [
      ...[text(key), u32(value.type)],
      ...('bytes' in value
        ? [value.type === TEXT ? text(value.bytes) : value.bytes]
        : [
            u32(value.of),
            u64(value.count ?? BigInt(value.items.length)),
            ...value.items.map((x) => (value.of === TEXT ? text(x) : x)),
          ]),
    ]),
    ...tensors.flatMap(({ name, sizes, type, offset }) => [
      text(name),
      u32(sizes.length),
      ...sizes.map(u64),
      u32(type),
      u64(offset),
    ]),
  ]);
  const alignment = alignmentOf(file);
  return Buffer.concat([head, Buffer.alloc(Math.ceil(head.length / alignment) * alignment - head.length), data]);
}

export function mutateGguf(bytes: Buffer, random: Random, words: readonly string[]): Buffer {
  let file: File;
  try {
    file = takeApart(bytes);
  } catch {
    return mutateBytes(bytes, random);
  }
  switch (random.int(10)) {
    case 0:
      return mutateBytes(bytes, random);
    case 1: {
      const odd = pick(random, [
        0n,
        1n,
        BigInt(file.tensors.length + 1),
        2n ** 31n,
        2n ** 32n,
        2n ** 53n,
        2n ** 63n,
        2n ** 64n - 1n,
      ]);
      return putTogether(file, oneIn(random, 2) ? { tensors: odd } : { metadata: odd });
    }
    case 2: {
      file.version = pick(random, [0, 1, 2, 3, 4, 0x03000000]);
      return putTogether(file);
    }
    case 3: {
      const copy = Buffer.from(file.data);
      for (let i = 0; i < 4 && copy.length > 0; i++)
        copy[random.int(copy.length)] = pick(random, [0, 0x7f, 0x80, 0xff, random.int(256)]);
      return putTogether({ ...file, data: copy });
    }
    case 4:
    case 5:
    case 6:
      changeTensors(file, random, words);
      return putTogether(file);
    default:
      changeMetadata(file, random, words);
      return putTogether(file);
  }
}

const BIG = [
  0n,
  1n,
  2n,
  31n,
  32n,
  33n,
  255n,
  256n,
  2n ** 31n,
  2n ** 32n - 1n,
  2n ** 32n,
  2n ** 53n,
  2n ** 62n,
  2n ** 63n,
  2n ** 64n - 1n,
];

function changeTensors(file: File, random: Random, words: readonly string[]): void {
  const { tensors } = file;
  if (tensors.length === 0) return;
  const tensor = pick(random, tensors);
  const axis = random.int(Math.max(1, tensor.sizes.length));
  switch (random.int(9)) {
    case 0:
      tensors.splice(tensors.indexOf(tensor), 1);
      break;
    case 1:
      tensors.push({ ...tensor, name: Buffer.from(`${tensor.name}${pick(random, ['', 'x', '.weight'])}`) });
      break;
    case 2:
      tensor.name = Buffer.from(
        oneIn(random, 2) && words.length > 0 ? pick(random, words) : pick(random, ODD_TEXTS).slice(0, 200),
      );
      break;
    case 3:
      tensor.sizes[axis] = pick(random, BIG);
      break;
    case 4:
      tensor.sizes = pick(random, [
        [],
        [...tensor.sizes, 1n],
        [1n, 1n, 1n, 1n, 1n],
        tensor.sizes.toReversed(),
        [tensor.sizes.reduce((a, b) => a * b, 1n)],
      ]);
      break;
    case 5:
      tensor.type = pick(random, [random.int(45), 0, 1, 8, 26, 2 ** 31, 2 ** 32 - 1]);
      break;
    case 6:
      tensor.offset = oneIn(random, 2) ? pick(random, BIG) : tensor.offset + BigInt(32 * (small(random, 9) - 2));
      break;
    case 7: {
      const other = pick(random, tensors);
      [tensor.offset, other.offset] = [other.offset, tensor.offset];
      break;
    }
    default:
      file.data = oneIn(random, 2)
        ? file.data.subarray(0, random.int(file.data.length + 1))
        : Buffer.concat([file.data, Buffer.alloc(random.int(200))]);
  }
}

/** A scalar of a type, odd more often than not. */
function scalarBytes(type: number, random: Random, words: readonly string[]): Buffer {
  if (type === TEXT)
    return Buffer.from(oneIn(random, 2) && words.length > 0 ? pick(random, words) : pick(random, ODD_TEXTS));
  const width = WIDTHS[type] || 4;
  const bytes = Buffer.alloc(width);
  if (type === BOOL) bytes[0] = pick(random, [0, 1, 1, 2, 255]);
  else if (type === 6)
    bytes.writeFloatLE(pick(random, [0, -1, 1e-45, 1e38, Number.NaN, Number.POSITIVE_INFINITY, 0.5, random.normal()]));
  else if (type === 12) bytes.writeDoubleLE(pick(random, [0, -1, 1e300, Number.NaN, Number.NEGATIVE_INFINITY, 0.5]));
  else bytes.set(u64(oneIn(random, 2) ? pick(random, BIG) : BigInt(random.int(300))).subarray(0, width));
  return bytes;
}

function changeMetadata(file: File, random: Random, words: readonly string[]): void {
  const { metadata } = file;
  if (metadata.length === 0) return;
  const index = random.int(metadata.length);
  const entry = metadata[index]!;
  const [key, value] = entry;
  switch (random.int(10)) {
    case 0:
      metadata.splice(index, 1);
      return;
    case 1:
      metadata.push([oneIn(random, 3) ? key : Buffer.from(`${key}${pick(random, ['', 'x', '.scale'])}`), value]);
      return;
    case 2:
      entry[0] = Buffer.from(oneIn(random, 2) && words.length > 0 ? pick(random, words) : pick(random, ODD_TEXTS));
      return;
    case 3: {
      const type = random.int(14);
      entry[1] =
        type === LIST ? { type: 9, of: random.int(13), items: [] } : { type, bytes: scalarBytes(type, random, words) };
      return;
    }
    case 4: {
      const other = pick(random, metadata);
      [entry[1], other[1]] = [other[1], entry[1]];
      return;
    }
    default:
      if ('bytes' in value) entry[1] = { type: value.type, bytes: scalarBytes(value.type, random, words) };
      else changeList(value, random, words);
  }
}

function changeList(value: Extract<Value, { type: 9; of: number }>, random: Random, words: readonly string[]): void {
  const { items } = value;
  const at = random.int(items.length + 1);
  const item = () => (value.of === LIST ? Buffer.alloc(12) : scalarBytes(value.of, random, words));
  switch (random.int(8)) {
    case 0:
      value.count = pick(random, BIG);
      break;
    case 1:
      items.splice(at, 1 + random.int(4));
      break;
    case 2:
      items.splice(at, 0, ...items.slice(at, at + 4));
      break;
    case 3:
      if (at < items.length) items[at] = items[random.int(items.length)]!;
      break;
    case 4:
      items.length = at;
      break;
    case 5:
      value.of = random.int(13);
      value.items = items.slice(0, 50).map(() => item());
      break;
    default:
      if (items.length > 0) items[Math.min(at, items.length - 1)] = item();
  }
}
