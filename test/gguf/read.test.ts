/** What a sound GGUF file holds: by hand, beside @huggingface/gguf, and real vocabularies. */

import { writeFileSync } from 'node:fs';
import { gguf } from '@huggingface/gguf';
import { describe, expect, it } from 'vitest';
import { ggufBool, ggufCount, ggufNumber, ggufNumbers, ggufString, ggufStrings } from '../../src/gguf/format.js';
import { GgufFile } from '../../src/gguf/read.js';
import { GGML_OPAQUE_TYPES, GGML_TYPES } from '../../src/gguf/types.js';
import { errorOf } from '../helpers/files.js';
import { hasShared, shared } from '../helpers/fixtures.js';
import {
  arrayEntry,
  boolEntry,
  entry,
  f32,
  floatEntry,
  ggufBytes,
  ggufModel,
  ggufPath,
  stringEntry,
  stringsEntry,
  u8,
  u32,
  u64,
  uintEntry,
  VALUE,
} from '../helpers/gguf.js';

function float64(x: number): Buffer {
  return Buffer.from(Float64Array.of(x).buffer);
}

const METADATA = [
  entry('u8', VALUE.uint8, u8(200)),
  entry('i8', VALUE.int8, u8(200)),
  entry('u16', VALUE.uint16, Buffer.of(0x34, 0xf2)),
  entry('i16', VALUE.int16, Buffer.of(0x34, 0xf2)),
  uintEntry('u32', 4_000_000_000),
  entry('i32', VALUE.int32, u32(4_000_000_000)),
  floatEntry('f32', 0.1),
  boolEntry('yes', true),
  boolEntry('no', false),
  stringEntry('text', 'naïve ▁ 🦙\u0000\ufeff'),
  entry('u64', VALUE.uint64, u64(2n ** 64n - 1n)),
  entry('i64', VALUE.int64, u64(2n ** 64n - 1n)),
  entry('f64', VALUE.float64, float64(0.1)),
  arrayEntry('numbers', VALUE.int32, [u32(1), u32(2 ** 32 - 1)]),
  arrayEntry('flags', VALUE.bool, [u8(1), u8(0)]),
  arrayEntry('longs', VALUE.uint64, [u64(2n ** 53n + 1n)]),
  arrayEntry('empty', VALUE.float32, []),
  stringsEntry('texts', ['', 'a', '\ufeffb']),
  stringEntry('__proto__', 'a key like any other'),
];

describe('metadata', () => {
  it('has every value type, with its type', () => {
    const file = GgufFile.open(ggufPath(ggufBytes({ metadata: METADATA })));
    file.close();
    expect(Object.fromEntries([...file.metadata].slice(0, -1))).toEqual({
      u8: { type: 'uint8', value: 200 },
      i8: { type: 'int8', value: -56 },
      u16: { type: 'uint16', value: 0xf234 },
      i16: { type: 'int16', value: 0xf234 - 65_536 },
      u32: { type: 'uint32', value: 4_000_000_000 },
      i32: { type: 'int32', value: -294_967_296 },
      f32: { type: 'float32', value: Math.fround(0.1) },
      yes: { type: 'bool', value: true },
      no: { type: 'bool', value: false },
      text: { type: 'string', value: 'naïve ▁ 🦙\u0000\ufeff' },
      u64: { type: 'uint64', value: 2n ** 64n - 1n },
      i64: { type: 'int64', value: -1n },
      f64: { type: 'float64', value: 0.1 },
      numbers: { type: 'array', of: 'int32', value: [1, -1] },
      flags: { type: 'array', of: 'bool', value: [true, false] },
      longs: { type: 'array', of: 'uint64', value: [2n ** 53n + 1n] },
      empty: { type: 'array', of: 'float32', value: [] },
      texts: { type: 'array', of: 'string', value: ['', 'a', '\ufeffb'] },
    });
    expect(file.metadata.get('__proto__')).toEqual({ type: 'string', value: 'a key like any other' });
    expect(errorOf(() => file.architecture)).toMatchObject({ code: 'gguf-invalid' });
  });

  it('is asked for by type, and a value of another type is an error', () => {
    const { metadata } = GgufFile.open(ggufPath(ggufBytes({ metadata: METADATA })));
    expect(ggufString({ metadata, path: 'p' }, 'text')).toMatch(/^naïve/);
    expect(ggufNumber({ metadata, path: 'p' }, 'i64')).toBe(-1);
    expect(ggufCount({ metadata, path: 'p' }, 'u8')).toBe(200);
    expect(ggufBool({ metadata, path: 'p' }, 'yes')).toBe(true);
    expect(ggufNumbers({ metadata, path: 'p' }, 'numbers')).toEqual([1, -1]);
    expect(ggufStrings({ metadata, path: 'p' }, 'texts')).toHaveLength(3);
    for (const get of [ggufString, ggufNumber, ggufCount, ggufBool, ggufNumbers, ggufStrings]) {
      expect(get({ metadata, path: 'p' }, 'absent')).toBeUndefined();
    }
    for (const wrong of [
      () => ggufString({ metadata, path: 'p' }, 'u8'),
      () => ggufNumber({ metadata, path: 'p' }, 'text'),
      () => ggufCount({ metadata, path: 'p' }, 'i8'),
      () => ggufCount({ metadata, path: 'p' }, 'f64'),
      () => ggufCount({ metadata, path: 'p' }, 'u64'),
      () => ggufBool({ metadata, path: 'p' }, 'u8'),
      () => ggufNumbers({ metadata, path: 'p' }, 'texts'),
      () => ggufNumbers({ metadata, path: 'p' }, 'longs'),
      () => ggufStrings({ metadata, path: 'p' }, 'text'),
    ]) {
      expect(errorOf(wrong).code).toBe('gguf-invalid');
    }
  });

  it('longer than the reading window is read whole', { tags: 'slow' }, () => {
    const tokens = Array.from({ length: 200_000 }, (_, i) => `token number ${i}`);
    const file = GgufFile.open(
      ggufPath(ggufBytes({ metadata: [stringsEntry('tokens', tokens), uintEntry('after', 7)] })),
    );
    file.close();
    expect(ggufStrings(file, 'tokens')).toEqual(tokens);
    expect(ggufNumber(file, 'after')).toBe(7);
  });
});

describe('tensors', () => {
  const values = Float32Array.from({ length: 24 }, (_, i) => i / 8 - 1);
  const open = (alignment?: number): GgufFile => {
    const metadata = alignment === undefined ? [] : [uintEntry('general.alignment', alignment)];
    const tensors = [
      { name: 'matrix', sizes: [4, 6], offset: 0 },
      { name: 'vector', sizes: [8], offset: alignment === 256 ? 256 : 96 },
      { name: 'scalar', sizes: [], offset: alignment === 256 ? 512 : 128 },
    ];
    const data = Buffer.alloc(1024);
    data.set(Buffer.from(values.buffer), 0);
    data.set(f32(1, 2, 3, 4, 5, 6, 7, 8), tensors[1]!.offset);
    data.set(f32(42), tensors[2]!.offset);
    return GgufFile.open(ggufPath(ggufBytes({ metadata, tensors, data, alignment: alignment ?? 32 })));
  };

  it.each([undefined, 32, 8, 256])('lie at their offsets with alignment %s', (alignment) => {
    const file = open(alignment);
    expect(file.alignment).toBe(alignment ?? 32);
    expect(file.info('matrix')).toMatchObject({ shape: [6, 4], type: 'F32', offset: 0, bytes: 96 });
    expect(file.readF32('matrix')).toEqual(values);
    expect([...file.readF32('vector')]).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    expect([...file.readF32('scalar')]).toEqual([42]);
    expect(Buffer.from(file.readBytes('vector'))).toEqual(f32(1, 2, 3, 4, 5, 6, 7, 8));
    file.close();
  });

  it('are read row by row', () => {
    const file = open();
    expect([...file.readRowsF32('matrix', [5, 0, 5])]).toEqual(
      [5, 0, 5].flatMap((r) => [...values.subarray(4 * r, 4 * r + 4)]),
    );
    expect(file.readRowsF32('matrix', [])).toHaveLength(0);
    for (const row of [6, -1, 0.5]) {
      expect(errorOf(() => file.readRowsF32('matrix', [row])).message).toContain(`row ${row} of "matrix", which has 6`);
    }
    expect(errorOf(() => file.readRowsF32('vector', [0])).message).toContain('expected 2-D');
    expect(errorOf(() => file.readF32('toString')).code).toBe('gguf-invalid');
    file.close();
    expect(() => file.readF32('matrix')).toThrow(/has been closed/);
  });

  it('of a type that is not read do not keep the others from being read', () => {
    const bytes = ggufModel(
      [],
      [
        { name: 'i64', shape: [2, 7], type: GGML_OPAQUE_TYPES.I64.id, bytes: new Uint8Array(112) },
        { name: 'f32', shape: [2], type: 0, bytes: f32(1, 2) },
      ],
    );
    const file = GgufFile.open(ggufPath(bytes));
    expect([...file.readF32('f32')]).toEqual([1, 2]);
    expect(file.readBytes('i64')).toHaveLength(112);
    const error = errorOf(() => file.readF32('i64'));
    expect(error).toMatchObject({ code: 'gguf-unsupported' });
    expect(error.message).toContain('"i64" is stored as I64, expected F32, F16');
    file.close();
  });

  it('of every type have the size that ggml gives them', () => {
    for (const [name, { id, block, bytes }] of Object.entries({ ...GGML_TYPES, ...GGML_OPAQUE_TYPES })) {
      const data = new Uint8Array(3 * bytes);
      const file = GgufFile.open(ggufPath(ggufModel([], [{ name: 'x', shape: [3, block], type: id, bytes: data }])));
      file.close();
      expect(file.info('x')).toMatchObject({ type: name, shape: [3, block], bytes: 3 * bytes });
    }
  });

  it('that the file has lost since it was opened are an error', () => {
    const path = ggufPath(ggufModel([], [{ name: 'x', shape: [64], type: 0, bytes: new Uint8Array(256) }]));
    const file = GgufFile.open(path);
    writeFileSync(path, 'gone');
    expect(errorOf(() => file.readF32('x')).code).toBe('file-unreadable');
    file.close();
  });
});

/** Texts as that reader gives them, which drops a byte order mark in front; llama.cpp keeps it, and so does this one. */
const withoutMark = (value: unknown): unknown => (typeof value === 'string' ? value.replace(/^\ufeff/, '') : value);

const values = (file: GgufFile): Record<string, unknown> =>
  Object.fromEntries(
    [...file.metadata].map(([key, { value }]) => {
      return [key, Array.isArray(value) ? value.map((item: unknown) => withoutMark(item)) : withoutMark(value)];
    }),
  );

describe('@huggingface/gguf reads the same', () => {
  it('from a file made by hand', async () => {
    const path = ggufPath(
      ggufModel(METADATA.slice(0, -1), [
        { name: 'token_embd.weight', shape: [3, 64], type: GGML_TYPES.Q8_0.id, bytes: new Uint8Array(3 * 68) },
        { name: 'norm', shape: [5], type: GGML_TYPES.F16.id, bytes: new Uint8Array(10) },
      ]),
    );
    const file = GgufFile.open(path);
    file.close();
    const theirs = await gguf(path, { allowLocalFile: true });
    const {
      version,
      tensor_count: tensorCount,
      kv_count: kvCount,
      ...metadata
    } = theirs.metadata as object as {
      [key: string]: unknown;
    };
    expect([version, tensorCount, kvCount]).toEqual([3, 2n, BigInt(file.metadata.size)]);
    expect(values(file)).toEqual(metadata);
    expect([...file.tensors.values()].map(({ name, shape, offset }) => ({ name, shape, offset }))).toEqual(
      theirs.tensorInfos.map((t) => ({ name: t.name, shape: t.shape.map(Number).reverse(), offset: Number(t.offset) })),
    );
  });

  it.skipIf(!hasShared).each(['gpt-2', 'llama-spm', 'phi-3', 'starcoder'])(
    'from the real vocabulary %s (needs ../shared)',
    { tags: 'slow' },
    async (name) => {
      const path = shared('llama.cpp-vocab', 'models', `ggml-vocab-${name}.gguf`);
      const file = GgufFile.open(path);
      file.close();
      const { metadata } = (await gguf(path, { allowLocalFile: true })) as { metadata: Record<string, unknown> };
      for (const [key, value] of Object.entries(values(file))) expect(metadata[key], key).toEqual(value);
      expect(file.metadata.size).toBe(Number(metadata.kv_count));
      expect(file.architecture).toBe(metadata['general.architecture']);
    },
  );
});
