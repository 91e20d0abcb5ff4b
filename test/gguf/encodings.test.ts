/** Every type against gguf-py's numbers and llama.cpp's bytes (scripts/fixtures/gguf_quants.py). */

import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { canDequantise, dequantise, encodedBytes, encodeGgufTensor } from '../../src/gguf/encodings.js';
import { GgufFile } from '../../src/gguf/read.js';
import * as grids from '../../src/gguf/types/i-grids.js';
import { GGML_TYPES, type GgmlType, type GgufWriteType } from '../../src/gguf/types.js';
import { HfModel } from '../../src/hf/model.js';
import { errorOf } from '../helpers/files.js';
import { fixtureJson, ROOT } from '../helpers/fixtures.js';
import { ggufModel, ggufPath } from '../helpers/gguf.js';

interface Case {
  type: GgmlType;
  bytes: string;
  values: string;
}

const cases = Object.entries(fixtureJson<Record<string, Case>>('gguf', 'quants.json')).map(
  ([name, { type, ...data }]) => {
    const bytes = new Uint8Array(Buffer.from(data.bytes, 'base64'));
    const expected = new Float32Array(new Uint8Array(Buffer.from(data.values, 'base64')).buffer);
    return { name, type, bytes, expected };
  },
);

/** Positions where two arrays differ as numbers: of the sign of zero nothing is promised. */
function differences(x: Float32Array, y: Float32Array): number[] {
  expect(x.length).toBe(y.length);
  return [...x.keys()].filter((i) => x[i] !== y[i]);
}

describe('dequantise', () => {
  it.each(cases)('$name: equal to the last bit', ({ type, bytes, expected }) => {
    const values = new Float32Array(expected.length);
    dequantise(type, bytes, values);
    expect(differences(values, expected)).toEqual([]);
    expect(new Set(values).size).toBeGreaterThan(4); // the fixture itself says something
  });

  it('has a fixture for every type', () => {
    expect(new Set(cases.map(({ type }) => type))).toEqual(new Set(Object.keys(GGML_TYPES)));
    expect(canDequantise('I32')).toBe(false);
    expect(canDequantise('toString')).toBe(false);
  });

  it.each(cases)('$name: from bytes at an odd address', ({ type, bytes, expected }) => {
    const shifted = new Uint8Array(bytes.length + 1);
    shifted.set(bytes, 1);
    const values = new Float32Array(expected.length);
    dequantise(type, shifted.subarray(1), values);
    expect(differences(values, expected)).toEqual([]);
  });
});

describe('the grids of the i-quants', () => {
  const digests = fixtureJson<Record<string, string>>('gguf', 'i-grids.json');

  it.each([
    ['IQ2_XXS', grids.gridIQ2XXS],
    ['IQ2_XS', grids.gridIQ2XS],
    ['IQ2_S', grids.gridIQ2S],
    ['IQ3_XXS', grids.gridIQ3XXS],
    ['IQ3_S', grids.gridIQ3S],
    ['IQ1_S', grids.gridIQ1],
  ] as const)("%s: every point is gguf-py's", (name, grid) => {
    expect(createHash('sha256').update(grid()).digest('hex')).toBe(digests[name]);
    expect(grid()).toBe(grid()); // decoded once
  });
});

describe('quantise', () => {
  const golden = fixtureJson<Record<'bytes' | 'trained', Record<string, string>> & { rows: string }>(
    'gguf',
    'quantised.json',
  );
  const rows = new Float32Array(new Uint8Array(Buffer.from(golden.rows, 'base64')).buffer);
  const types = Object.keys(golden.bytes) as GgufWriteType[];

  it.each(types)("%s: llama.cpp's bytes, of plain rows and of hard ones", (type) => {
    const bytes = encodeGgufTensor(type, rows, 'rows');
    const expected = Buffer.from(golden.bytes[type]!, 'base64');
    const { block, bytes: size } = GGML_TYPES[type];
    expect(bytes).toHaveLength(expected.length);
    const wrong = [...bytes.keys()].filter((i) => bytes[i] !== expected[i]);
    expect([...new Set(wrong.map((i) => Math.floor(((i / size) * block) / 256)))]).toEqual([]); // the rows
  });

  it.each(types)("%s: llama.cpp's bytes of a trained model's embeddings", { tags: 'slow' }, (type) => {
    const model = HfModel.open(join(ROOT, 'models', 'crayon-edge'));
    const data = model.readF32('model.embed_tokens.weight');
    model.close();
    const digest = createHash('sha256')
      .update(encodeGgufTensor(type, data, 'embeddings'))
      .digest('hex');
    expect(digest).toBe(golden.trained[type]);
  });

  it('has golden bytes of every quantised type that is written', () => {
    const written = Object.entries(GGML_TYPES).filter(([, row]) => 'quantise' in row && row.block > 1);
    expect(new Set(types)).toEqual(new Set(written.map(([name]) => name)));
  });

  it.each(types)('%s: refuses what its scale cannot hold, by name', (type) => {
    const data = new Float32Array(256);
    data[9] = 3e9;
    data[10] = -3e9;
    expect(errorOf(() => encodeGgufTensor(type, data, 'tensor "x"'))).toMatchObject({
      code: 'tensor-not-finite',
      message: expect.stringMatching(/^tensor "x": .* does not fit into F16$/),
    });
  });
});

describe('a file', () => {
  it.each(cases)('$name: rows and the whole tensor', ({ type, bytes, expected }) => {
    const columns = GGML_TYPES[type].block === 1 ? 64 : GGML_TYPES[type].block;
    const rows = expected.length / columns;
    const shape = [rows, columns];
    const file = GgufFile.open(ggufPath(ggufModel([], [{ name: 'w', shape, type: GGML_TYPES[type].id, bytes }])));
    expect(differences(file.readF32('w'), expected)).toEqual([]);
    const last = file.readRowsF32('w', [rows - 1, 0]);
    expect(differences(last.subarray(0, columns), expected.subarray(-columns))).toEqual([]);
    expect(differences(last.subarray(columns), expected.subarray(0, columns))).toEqual([]);
    file.close();
  });

  it('longer than one step is decoded whole', () => {
    const { type, bytes, expected } = cases.find(({ name }) => name === 'Q6_K random')!;
    const repeats = Math.ceil((2 ** 18 * 2.5) / expected.length);
    const whole = new Uint8Array(repeats * bytes.length);
    for (let i = 0; i < repeats; i++) whole.set(bytes, i * bytes.length);
    const shape = [repeats * 4, 256];
    const file = GgufFile.open(
      ggufPath(ggufModel([], [{ name: 'w', shape, type: GGML_TYPES[type].id, bytes: whole }])),
    );
    const values = file.readF32('w');
    file.close();
    expect(values.length).toBe(repeats * expected.length);
    expect(encodedBytes(type, values.length)).toBe(whole.length);
    for (const i of [0, 255, 256, Math.floor(repeats / 2), repeats - 1]) {
      const part = values.subarray(i * expected.length, (i + 1) * expected.length);
      expect(differences(part, expected)).toEqual([]);
    }
  });
});
