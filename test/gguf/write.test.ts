/** The writer, read back by @huggingface/gguf and by our reader; encodings against golden bytes of Python's gguf. */

import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { CrayonError } from '../../src/core/errors.js';
import { encodeGgufTensor } from '../../src/gguf/encodings.js';
import type { GgufValue } from '../../src/gguf/format.js';
import { exportModelGguf } from '../../src/gguf/model.js';
import { GgufFile } from '../../src/gguf/read.js';
import { type GgufTensorToWrite, writeGguf, writeGgufSteps } from '../../src/gguf/write.js';
import { errorOf, temporaryDir } from '../helpers/files.js';
import { fixture } from '../helpers/fixtures.js';
import { readWithPeer } from '../helpers/gguf-peer.js';

const METADATA = new Map<string, GgufValue>([
  ['general.architecture', { type: 'string', value: 'llama' }],
  ['a.uint8', { type: 'uint8', value: 255 }],
  ['a.int8', { type: 'int8', value: -128 }],
  ['a.uint16', { type: 'uint16', value: 65535 }],
  ['a.int16', { type: 'int16', value: -32768 }],
  ['a.uint32', { type: 'uint32', value: 4294967295 }],
  ['a.int32', { type: 'int32', value: -2147483648 }],
  ['a.float32', { type: 'float32', value: 0.5 }],
  ['a.float64', { type: 'float64', value: 0.1 }],
  ['a.uint64', { type: 'uint64', value: 2n ** 64n - 1n }],
  ['a.int64', { type: 'int64', value: -(2n ** 63n) }],
  ['a.bool', { type: 'bool', value: true }],
  ['a.text', { type: 'string', value: 'naïve 😀\0' }],
  ['a.empty', { type: 'array', of: 'string', value: [] }],
  ['a.texts', { type: 'array', of: 'string', value: ['a', '', '日本'] }],
  ['a.bools', { type: 'array', of: 'bool', value: [true, false] }],
  ['a.longs', { type: 'array', of: 'int64', value: [-1n, 1n] }],
  ['a.reals', { type: 'array', of: 'float32', value: [1.5, -2] }],
]);

const ramp = (length: number): Float32Array => Float32Array.from({ length }, (_, i) => (i % 17) / 8 - 1);
const tensor = (name: string, shape: number[], type: GgufTensorToWrite['type'] = 'F32'): GgufTensorToWrite => ({
  name,
  shape,
  type,
  data: () => ramp(shape.reduce((a, b) => a * b, 1)),
});
const TENSORS = [
  tensor('one', [3]),
  tensor('two', [5, 7], 'F16'),
  tensor('three', [2, 64], 'Q8_0'),
  tensor('n'.repeat(63), [4, 1]),
];

describe('a written file', () => {
  it('has the metadata and tensors that went in, for @huggingface/gguf and for our reader', async () => {
    const path = join(temporaryDir(), 'all.gguf');
    const { bytes } = writeGguf(path, METADATA, TENSORS);
    expect(statSync(path).size).toBe(bytes);

    const theirs = await readWithPeer(path);
    for (const [key, { value }] of METADATA) expect(theirs.metadata[key], key).toEqual(value);
    expect(theirs.metadata).toMatchObject({ version: 3, tensor_count: 4n, kv_count: BigInt(METADATA.size) });
    expect(theirs.tensors.map(({ name, shape }) => [name, shape])).toEqual(
      TENSORS.map(({ name, shape }) => [name, shape]),
    );

    const file = GgufFile.open(path);
    expect([...file.metadata]).toEqual([...METADATA]);
    expect([...file.tensors.values()].map(({ name, shape, type }) => ({ name, shape, type }))).toEqual(
      TENSORS.map(({ name, shape, type }) => ({ name, shape, type })),
    );
    for (const { offset } of file.tensors.values()) expect(offset % 32).toBe(0);
    expect(file.readF32('one')).toEqual(ramp(3));
    expect(file.readF32('two')).toEqual(ramp(35)); // eighths are exact in F16
    const q8 = file.readF32('three');
    expect(Math.max(...q8.map((x, i) => Math.abs(x - ramp(128)[i]!)))).toBeLessThan(0.5 / 127 + 1e-3);
    file.close();
  });

  it('keeps one tensor in memory at a time, in the order given', () => {
    const calls: string[] = [];
    const spied = TENSORS.map((one) => {
      const data = () => {
        calls.push(one.name);
        return one.data();
      };
      return { ...one, data };
    });
    const steps = writeGgufSteps(join(temporaryDir(), 'steps.gguf'), METADATA, spied);
    steps.next();
    expect(calls).toEqual([]);
    steps.next();
    steps.next();
    expect(calls).toEqual(['one', 'two']);
    steps.return({ bytes: 0 });
  });
});

describe('an output', () => {
  it('is left alone when it exists, and with force replaced only when it is a GGUF file', () => {
    const dir = temporaryDir();
    const path = join(dir, 'out.gguf');
    writeGguf(path, METADATA, TENSORS);
    const before = readFileSync(path);
    expect(errorOf(() => writeGguf(path, new Map(), []))).toMatchObject({ code: 'output-exists' });
    expect(readFileSync(path)).toEqual(before);
    writeGguf(path, new Map(), [], { force: true });
    expect(statSync(path).size).toBe(32);
    const diary = join(dir, 'diary.txt');
    writeFileSync(diary, 'dear diary');
    expect(errorOf(() => writeGguf(diary, METADATA, [], { force: true }))).toMatchObject({ code: 'output-exists' });
    expect(errorOf(() => writeGguf(dir, METADATA, [], { force: true }))).toMatchObject({ code: 'output-exists' });
    expect(readFileSync(diary, 'utf8')).toBe('dear diary');
  });

  it('does not appear, nor anything beside it, when a tensor fails or the caller stops', () => {
    const dir = temporaryDir();
    const path = join(dir, 'out.gguf');
    const fails: GgufTensorToWrite = {
      ...TENSORS[0]!,
      name: 'fails',
      data: () => {
        throw new CrayonError('tensor-not-finite', 'broken');
      },
    };
    expect(errorOf(() => writeGguf(path, METADATA, [...TENSORS, fails]))).toMatchObject({ code: 'tensor-not-finite' });
    for (const { done } of writeGgufSteps(path, METADATA, TENSORS)) {
      expect(readdirSync(dir)).toHaveLength(1); // the temporary sibling alone
      expect(existsSync(path)).toBe(false);
      if (done === 2) break;
    }
    expect(readdirSync(dir)).toEqual([]);
    const missing = join(dir, 'no', 'such', 'folder.gguf');
    expect(errorOf(() => writeGguf(missing, METADATA, TENSORS))).toMatchObject({ code: 'write-failed' });
  });
});

describe('encodings', () => {
  const hex = (data: Float32Array): string => Buffer.from(encodeGgufTensor('Q8_0', data, 't')).toString('hex');

  it('Q8_0 has the bytes of the reference: halves away from zero, negative zero, an empty block', () => {
    const ties = [127, 0.5, 1.5, 2.5, -0.5, -2.5, 0, -0].concat(Array.from({ length: 24 }, (_, i) => i * 3.3 - 40));
    expect(hex(Float32Array.from(ties))).toBe('003c7f010203fffd0000d8dbdfe2e5e8eceff2f6f9fc0003060a0d1013171a1d2124');
    const ninths = Float32Array.from({ length: 32 }, (_, i) => Math.fround(((i * 7) % 13) - 6) / 9);
    expect(hex(ninths)).toBe('601d8115962aab40c055d66aeb7f008115962aab40c055d66aeb7f008115962aab40');
    expect(hex(new Float32Array(32))).toBe('00'.repeat(34));
  });

  it('F16 rounds to nearest, ties to even, and refuses what does not fit', () => {
    const values = [1, 1 + 2 ** -11, 1 + 3 * 2 ** -11, 65504, 2 ** -24, 2 ** -25, 3 * 2 ** -25, -2.5e-8, 1 / 3, 6.1e-5];
    const bits = new Uint16Array(encodeGgufTensor('F16', Float32Array.from(values), 't').buffer);
    expect([...bits]).toEqual([15360, 15360, 15362, 31743, 1, 0, 2, 32768, 13653, 1023]);
    expect(errorOf(() => encodeGgufTensor('F16', Float32Array.of(70_000), 'tensor "x"'))).toMatchObject({
      code: 'tensor-not-finite',
      message: 'tensor "x": 70000 does not fit into F16',
    });
  });
});

describe('a model', () => {
  it('keeps vectors in F32, and rows that are no whole blocks in F16', async () => {
    const path = join(temporaryDir(), 'q8.gguf');
    const { types } = exportModelGguf({ model: fixture('models', 'llama'), out: path, type: 'Q8_0' });
    const { tensors } = await readWithPeer(path);
    const ids = new Map(tensors.map(({ name, type }) => [name, type]));
    expect(ids.get('blk.0.attn_norm.weight')).toBe(0);
    expect(ids.get('blk.0.attn_q.weight')).toBe(8); // 32 columns
    expect(ids.get('blk.0.ffn_down.weight')).toBe(1); // 48 columns
    expect(types).toEqual({ F32: 5, Q8_0: 12, F16: 4 });
  });

  it('promises of a windowed model only the context in which llama.cpp, which has no window, is exact', async () => {
    const path = join(temporaryDir(), 'mistral.gguf');
    exportModelGguf({ model: fixture('models', 'mistral'), out: path, type: 'F16' });
    const { metadata } = await readWithPeer(path);
    expect(metadata['llama.context_length']).toBe(6);
  });
});
