import fs, { existsSync, readdirSync, readFileSync } from 'node:fs';
import { createRequire, syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { ARRAY_OF } from '../../src/safetensors/header.js';
import { SafetensorsFile } from '../../src/safetensors/read.js';
import {
  SafetensorsWriter,
  type TensorData,
  type TensorToWrite,
  writeSafetensors,
} from '../../src/safetensors/write.js';
import { errorOf, temporaryDir } from '../helpers/files.js';
import { fixture } from '../helpers/fixtures.js';

/** Everything in a file, ready to be written again, in reverse order of the file. */
function contents(file: SafetensorsFile): TensorToWrite[] {
  return [...file.tensors]
    .map(([name, { dtype, shape }]): TensorToWrite => {
      return {
        name,
        dtype,
        shape,
        data: new (ARRAY_OF[dtype] as new (bytes: ArrayBufferLike) => TensorData)(file.readBytes(name).buffer),
      };
    })
    .reverse();
}

const ramp = (n: number): Float32Array => Float32Array.from({ length: n }, (_, i) => i - 2.5);

describe('a written file', () => {
  it.each(['dtypes', 'newer-dtypes', 'shapes', 'no-tensors'])('is byte for byte what Python writes: %s', (name) => {
    const original = fixture('safetensors', `${name}.safetensors`);
    const file = SafetensorsFile.open(original);
    const path = join(temporaryDir(), 'copy.safetensors');
    const metadata = Object.keys(file.metadata).length > 0 ? { ...file.metadata } : undefined;
    const { bytes } = writeSafetensors(path, contents(file), metadata);
    file.close();
    expect(readFileSync(path).equals(readFileSync(original))).toBe(true);
    expect(bytes).toBe(readFileSync(original).length);
  });

  it('is byte for byte what PEFT writes', () => {
    const original = fixture('lora', 'llama', 'adapter_model.safetensors');
    const file = SafetensorsFile.open(original);
    const path = join(temporaryDir(), 'copy.safetensors');
    writeSafetensors(path, contents(file), { ...file.metadata });
    file.close();
    expect(readFileSync(path).equals(readFileSync(original))).toBe(true);
  });

  it('reads the same in the npm package safetensors', () => {
    const { SafeTensor } = createRequire(import.meta.url)('safetensors');
    const path = join(temporaryDir(), 'a.safetensors');
    const weights = ramp(6);
    const ids = Int32Array.of(-1, 2 ** 31 - 1);
    writeSafetensors(path, [
      { name: 'ids', dtype: 'I32', shape: [2], data: ids },
      { name: 'weights', dtype: 'F32', shape: [2, 3], data: weights },
    ]);
    const other = new SafeTensor(new Uint8Array(readFileSync(path)));
    expect(other.metadata.get('weights')).toMatchObject({ dtype: 'F32', shape: [2, 3] });
    expect(new Float32Array(new Uint8Array(other.getTensor('weights')).buffer)).toEqual(weights);
    expect(new Int32Array(new Uint8Array(other.getTensor('ids')).buffer)).toEqual(ids);
  });

  it('orders names as UTF-8 bytes, not as UTF-16 units', () => {
    const path = join(temporaryDir(), 'a.safetensors');
    const entry = (name: string): TensorToWrite => ({ name, dtype: 'U8', shape: [1], data: Uint8Array.of(1) });
    writeSafetensors(path, [entry('\u{1f600}'), entry('\uff5e')]);
    const file = SafetensorsFile.open(path);
    expect([...file.tensors.keys()]).toEqual(['\uff5e', '\u{1f600}']);
    file.close();
  });

  it('has float32 data converted when it is declared F16 or BF16', () => {
    const path = join(temporaryDir(), 'a.safetensors');
    writeSafetensors(path, [
      { name: 'h', dtype: 'F16', shape: [4], data: ramp(4) },
      { name: 'b', dtype: 'BF16', shape: [4], data: ramp(4) },
    ]);
    const file = SafetensorsFile.open(path);
    expect(file.readF32('h')).toEqual(ramp(4));
    expect(file.readF32('b')).toEqual(ramp(4));
    expect(file.info('h').dataOffsets[1] - file.info('h').dataOffsets[0]).toBe(8);
    file.close();
  });

  it('is refused when a finite value does not fit into F16', () => {
    const path = join(temporaryDir(), 'a.safetensors');
    const data = Float32Array.of(1, 1e6);
    const error = errorOf(() => writeSafetensors(path, [{ name: 'h', dtype: 'F16', shape: [2], data }]));
    expect(error.code).toBe('tensor-not-finite');
    expect(error.message).toContain('1000000 in tensor "h"');
    expect(existsSync(path)).toBe(false);
  });
});

describe('streaming', () => {
  it('asks for each tensor when its turn comes, in file order', () => {
    const path = join(temporaryDir(), 'a.safetensors');
    const calls: string[] = [];
    const entry = (name: string, dtype: 'F32' | 'U8', data: TensorData): TensorToWrite => ({
      name,
      dtype,
      shape: [data.length],
      data: () => {
        calls.push(name);
        return data;
      },
    });
    writeSafetensors(path, [
      entry('u', 'U8', Uint8Array.of(7)),
      entry('b', 'F32', ramp(1)),
      entry('a', 'F32', ramp(2)),
    ]);
    expect(calls).toEqual(['a', 'b', 'u']);
  });

  it('may reuse one array for all tensors', () => {
    const path = join(temporaryDir(), 'a.safetensors');
    const writer = new SafetensorsWriter(
      path,
      ['x', 'y'].map((name) => ({ name, dtype: 'F32', shape: [3] })),
    );
    const buffer = new Float32Array(3);
    for (const [i, { name }] of writer.order.entries()) writer.write(name, buffer.fill(i + 1));
    const { bytes } = writer.finish();
    const file = SafetensorsFile.open(path);
    expect([...file.readF32('x'), ...file.readF32('y')]).toEqual([1, 1, 1, 2, 2, 2]);
    expect(bytes).toBe(file.sizeBytes);
    file.close();
  });

  it('insists on the layout: names in order, sizes and types as declared, all tensors', () => {
    const dir = temporaryDir();
    const open = () =>
      new SafetensorsWriter(
        join(dir, 'a'),
        ['x', 'y'].map((name) => ({ name, dtype: 'F32', shape: [2] })),
      );
    expect(() => open().write('y', ramp(2))).toThrow(/order of the layout/);
    expect(() => open().write('x', ramp(3))).toThrow(/bytes of tensor "x"/);
    expect(() => open().write('x', Int32Array.of(1, 2))).toThrow(/given as Int32Array/);
    expect(() => open().finish()).toThrow(/every declared tensor/);
    expect(
      () =>
        new SafetensorsWriter(
          join(dir, 'a'),
          ['x', 'x'].map((name) => ({ name, dtype: 'F32', shape: [1] })),
        ),
    ).toThrow(/unique/);
    expect(readdirSync(dir)).toEqual([]);
  });
});

describe('a failed write', () => {
  const tensors = (data: () => Float32Array): TensorToWrite[] => [
    { name: 'a', dtype: 'F32', shape: [4], data: ramp(4) },
    { name: 'b', dtype: 'F32', shape: [4], data },
  ];

  it('leaves the old file and no temporary one when a tensor cannot be made', () => {
    const dir = temporaryDir();
    const path = join(dir, 'a.safetensors');
    writeSafetensors(
      path,
      tensors(() => ramp(4)),
    );
    const before = readFileSync(path);
    const fail = (): never => {
      throw new Error('no such numbers');
    };
    expect(() => writeSafetensors(path, tensors(fail))).toThrow('no such numbers');
    expect(readFileSync(path).equals(before)).toBe(true);
    expect(readdirSync(dir)).toEqual(['a.safetensors']);
  });

  it('says disk-full when the disk fills up on the way, and leaves nothing', () => {
    const dir = temporaryDir();
    const original = fs.writeSync;
    onTestFinished(() => {
      fs.writeSync = original;
      syncBuiltinESMExports();
    });
    let calls = 0;
    fs.writeSync = ((...args: Parameters<typeof original>) => {
      if (++calls === 3)
        throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC', syscall: 'write' });
      return original(...args);
    }) as typeof original;
    syncBuiltinESMExports();
    const error = errorOf(() =>
      writeSafetensors(
        join(dir, 'a.safetensors'),
        tensors(() => ramp(4)),
      ),
    );
    expect(calls).toBe(3);
    expect(error.code).toBe('disk-full');
    expect(readdirSync(dir)).toEqual([]);
  });

  it('says disk-full at once when the file is larger than the free space', () => {
    const dir = temporaryDir();
    const huge = { name: 'a', dtype: 'F32' as const, shape: [2 ** 48] };
    expect(errorOf(() => new SafetensorsWriter(join(dir, 'a'), [huge])).code).toBe('disk-full');
    expect(readdirSync(dir)).toEqual([]);
  });

  it('says write-failed when the folder does not exist', () => {
    const path = join(temporaryDir(), 'none', 'a.safetensors');
    expect(errorOf(() => writeSafetensors(path, [])).code).toBe('write-failed');
  });

  it('goes on after a short write of the system', () => {
    const path = join(temporaryDir(), 'a.safetensors');
    const original = fs.writeSync as (fd: number, data: Uint8Array, offset: number, length: number) => number;
    onTestFinished(() => {
      fs.writeSync = original as typeof fs.writeSync;
      syncBuiltinESMExports();
    });
    fs.writeSync = ((fd: number, data: Uint8Array, offset: number, length: number) =>
      original(fd, data, offset, Math.min(length, 5))) as typeof fs.writeSync;
    syncBuiltinESMExports();
    writeSafetensors(
      path,
      tensors(() => ramp(4)),
    );
    const file = SafetensorsFile.open(path);
    expect(file.readF32('b')).toEqual(ramp(4));
    file.close();
  });
});
