import { closeSync, copyFileSync, ftruncateSync, openSync, truncateSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { SafetensorsFile } from '../../src/safetensors/read.js';
import { errorOf, safetensorsBytes, temporaryDir } from '../helpers/files.js';
import { fixture, fixtureJson } from '../helpers/fixtures.js';

interface ExpectedFile {
  metadata: Record<string, string>;
  tensors: Record<
    string,
    { shape: number[]; float32?: Array<number | string>; values?: Array<number | string | boolean> }
  >;
}

const expected = fixtureJson<Record<string, ExpectedFile>>('safetensors', 'values.json');
const FLOATS = ['F64', 'F32', 'F16', 'BF16'];

/** Integers and booleans of the raw bytes, in the fixture's spelling. */
function integersOf(file: SafetensorsFile, name: string): Array<number | string | boolean> {
  const { buffer } = file.readBytes(name);
  switch (file.info(name).dtype) {
    case 'BOOL':
      return [...new Uint8Array(buffer)].map((x) => x === 1);
    case 'I8':
      return [...new Int8Array(buffer)];
    case 'U8':
      return [...new Uint8Array(buffer)];
    case 'I16':
      return [...new Int16Array(buffer)];
    case 'U16':
      return [...new Uint16Array(buffer)];
    case 'I32':
      return [...new Int32Array(buffer)];
    case 'U32':
      return [...new Uint32Array(buffer)];
    default:
      return [...new BigInt64Array(buffer)].map((x) => (Number.isSafeInteger(Number(x)) ? Number(x) : String(x)));
  }
}

describe('files written by Python safetensors', () => {
  it.each(Object.keys(expected))('%s.safetensors reads as Python reads it', (name) => {
    const { metadata, tensors } = expected[name]!;
    const file = SafetensorsFile.open(fixture('safetensors', `${name}.safetensors`));
    expect(file.metadata).toEqual(metadata);
    expect([...file.tensors.keys()].sort()).toEqual(Object.keys(tensors).sort());
    for (const [tensor, { shape, float32, values }] of Object.entries(tensors)) {
      const { dtype, shape: found } = file.info(tensor);
      expect(found, tensor).toEqual(shape);
      if (values !== undefined) expect(integersOf(file, tensor), tensor).toEqual(values);
      else if (FLOATS.includes(dtype)) expect([...file.readF32(tensor)], tensor).toEqual(float32!.map(Number));
      else expect(errorOf(() => file.readF32(tensor)).code, tensor).toBe('safetensors-invalid');
    }
    file.close();
  });
});

describe('reading floats', () => {
  const open = () => SafetensorsFile.open(fixture('safetensors', 'shapes.safetensors'));

  it('fills the array it is given', () => {
    const file = open();
    const target = new Float32Array(30).fill(-1);
    file.readInto('cube', target.subarray(3, 27));
    expect([...target.subarray(0, 3), ...target.subarray(27)]).toEqual([-1, -1, -1, -1, -1, -1]);
    expect(target.subarray(3, 27)).toEqual(file.readF32('cube'));
    expect(() => file.readInto('cube', target)).toThrow(/target for "cube"/);
    file.close();
  });

  it('refuses integers by name', () => {
    const file = open();
    const error = errorOf(() => file.readF32('scalar.i64'));
    expect(error.code).toBe('safetensors-invalid');
    expect(error.message).toContain('"scalar.i64" is I64');
    file.close();
  });

  it('crosses the border of the conversion buffer without a seam', () => {
    const count = 2 ** 19 + 3; // the buffer holds 2^19 16-bit elements
    const path = join(temporaryDir(), 'long.safetensors');
    const bits = Uint16Array.from({ length: count }, (_, i) => 0x3f80 + (i % 64));
    const head = safetensorsBytes({ a: { dtype: 'BF16', shape: [count], data_offsets: [0, count * 2] } });
    writeFileSync(path, Buffer.concat([head, Buffer.from(bits.buffer)]));
    const file = SafetensorsFile.open(path);
    const values = file.readF32('a');
    expect(values.findIndex((x, i) => x !== 1 + (i % 64) / 128)).toBe(-1);
    file.close();
  });
});

describe('reading rows', () => {
  const open = (model: string) => SafetensorsFile.open(fixture('models', model, 'model.safetensors'));

  it.each(['llama', 'mistral', 'qwen3'])(
    'of %s gives the rows of the whole matrix, in the order asked for',
    (model) => {
      const file = open(model);
      const name = 'model.embed_tokens.weight';
      const columns = file.info(name).shape[1]!;
      const all = file.readF32(name);
      const rows = [5, 0, 287, 5];
      const wanted = rows.flatMap((row) => [...all.subarray(row * columns, (row + 1) * columns)]);
      expect([...file.readRowsF32(name, rows)]).toEqual(wanted);
      file.close();
    },
  );

  it('refuses a row that the matrix does not have, and tensors that are no matrix', () => {
    const file = open('llama');
    for (const row of [288, -1, 0.5, Number.NaN]) {
      expect(errorOf(() => file.readRowsF32('model.embed_tokens.weight', [row])).code).toBe('safetensors-invalid');
    }
    expect(errorOf(() => file.readRowsF32('model.norm.weight', [0])).code).toBe('safetensors-invalid');
    file.close();
  });
});

describe('a file that changes after it was opened', () => {
  it('is an error, not zeros', () => {
    const path = join(temporaryDir(), 'shrinking.safetensors');
    copyFileSync(fixture('models', 'llama', 'model.safetensors'), path);
    const file = SafetensorsFile.open(path);
    truncateSync(path, 20_000);
    expect(errorOf(() => file.readF32('model.norm.weight')).code).toBe('file-unreadable');
    file.close();
  });
});

describe('a file of 5 GB', () => {
  it('opens by reading its header alone, and gives rows beyond 4 GiB', () => {
    const path = join(temporaryDir(), 'large.safetensors');
    const rows = 1_250_000;
    const columns = 1000;
    const bytes = rows * columns * 4; // 5 GB, sparse: it takes no room on the disk
    const head = safetensorsBytes({ table: { dtype: 'F32', shape: [rows, columns], data_offsets: [0, bytes] } });
    const fd = openSync(path, 'w');
    writeSync(fd, head);
    ftruncateSync(fd, head.length + bytes);
    writeSync(fd, new Uint8Array(Float32Array.of(42).buffer), 0, 4, head.length + bytes - 4);
    closeSync(fd);

    const before = process.memoryUsage().rss;
    const start = performance.now();
    const file = SafetensorsFile.open(path);
    const row = file.readRowsF32('table', [rows - 1]);
    const elapsedMs = performance.now() - start;
    file.close();
    expect(row[columns - 1]).toBe(42);
    expect(elapsedMs).toBeLessThan(1000);
    expect(process.memoryUsage().rss - before).toBeLessThan(64 * 2 ** 20);
  });
});
