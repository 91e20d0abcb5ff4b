// npx vitest run test/blend/combine-threads.test.ts
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterAll, describe, expect, it } from 'vitest';
import { blendAdapters } from '../../src/blend/blend.js';
import { CombineThreads } from '../../src/blend/combine-threads.js';
import { createRandom } from '../../src/core/random.js';
import { sha256File } from '../../src/files/digest.js';
import { combineSvd } from '../../src/lora/combine.js';
import { type ModuleSpec, virtualAdapter } from './helpers.js';

const dir = mkdtempSync(join(tmpdir(), 'crayon-threads-'));
afterAll(() => rmSync(dir, { recursive: true }));

const modules = (count: number, size: number): ModuleSpec[] =>
  Array.from({ length: count }, (_, i) => ({ name: `layers.${i}.proj`, in: size, out: size + 8 * (i % 3) }));

/** Blocks for a moment without the event loop, which the threads do not need either. */
const pause = (ms: number): unknown => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);

describe('CombineThreads', () => {
  const shape = { in: 40, out: 30 };
  const job = (index: number) => {
    const random = createRandom(index, 'job');
    const normals = (count: number) => Float32Array.from({ length: count }, () => random.normal());
    const factors = [2, 3].map((r) => ({ r, scale: 1.5, a: normals(r * shape.in), b: normals(shape.out * r) }));
    return { index, combine: 'svd' as const, factors, coefficients: [0.5, 0.5], shape, rank: 3 };
  };
  const direct = (index: number) => combineSvd(job(index).factors, [0.5, 0.5], shape, 3);

  it('gives the same results in the same order when other threads do the work', () => {
    const threads = new CombineThreads(40, job, 3);
    for (let waited = 0; threads.ready < 3 && waited < 20_000; waited += 50) pause(50);
    expect(threads.ready).toBe(3);
    for (let index = 0; index < 40; index++) expect(threads.take(index)).toEqual(direct(index));
    expect(threads.answers).toBeGreaterThan(0);
    threads.close();
  });

  it('does everything itself with one thread, or before the others are up', () => {
    for (const count of [1, 4]) {
      const threads = new CombineThreads(5, job, count);
      for (let index = 0; index < 5; index++) expect(threads.take(index)).toEqual(direct(index));
      threads.close();
    }
  });

  it('passes on an error of another thread', () => {
    const broken = (index: number) => ({ ...job(index), coefficients: [1] });
    const threads = new CombineThreads(40, (index) => (index === 0 ? job(0) : broken(index)), 2);
    for (let waited = 0; threads.ready < 2 && waited < 20_000; waited += 50) pause(50);
    expect(() => {
      for (let index = 0; index < 40; index++) threads.take(index);
    }).toThrow(/one coefficient for each adapter/);
    threads.close();
  });
});

describe('blendAdapters', () => {
  const adapters = [1, 2, 3].map((seed) => virtualAdapter(seed, modules(24, 128), 8));
  const blend = (out: string, threads: number, combine: 'cat' | 'svd' | 'linear') =>
    blendAdapters({
      adapters,
      coefficients: [0.2, 0.5, 0.3],
      combine,
      out: join(dir, out),
      baseModel: 'tiny',
      threads,
    });

  it.each(['cat', 'svd', 'linear'] as const)('%s writes the same bytes whatever the number of threads', (combine) => {
    const digests = [1, 2, 3].map((threads) => blend(`${combine}-${threads}`, threads, combine).digest);
    expect(new Set(digests).size).toBe(1);
    const files = [1, 2, 3].map((threads) =>
      readFileSync(join(dir, `${combine}-${threads}`, 'adapter_model.safetensors')),
    );
    expect(files[1]!.equals(files[0]!) && files[2]!.equals(files[0]!)).toBe(true);
  });
});

describe('a blend larger than the memory it may use', () => {
  setFlagsFromString('--expose-gc');
  const collectGarbage = runInNewContext('gc') as () => void;

  /** Bytes in array buffers that are in use. Dead ones are freed, and leave the count, some time after the collection. */
  const liveBytes = (): number => {
    const readings = [1, 2, 3].map(() => {
      collectGarbage();
      pause(2);
      return process.memoryUsage().arrayBuffers;
    });
    return Math.min(...readings);
  };

  it.each([
    ['cat', 1, 64, 90e6],
    ['cat', 2, 64, 90e6],
    ['svd', 1, 16, 7e6],
  ] as const)(
    '%s with %i thread(s) stays within a few modules, and hashes what it writes',
    (combine, threads, r, size) => {
      // 96 modules; for cat about 1 MB of output each, for svd half a megabyte of float64 stacks
      const adapters = [1, 2, 3].map((seed) => virtualAdapter(seed, modules(96, 640), r));
      let peak = 0;
      const before = liveBytes();
      const out = join(dir, `large-${combine}-${threads}`);
      const { bytes, digest } = blendAdapters({
        adapters,
        coefficients: [0.2, 0.5, 0.3],
        combine,
        ...(combine === 'svd' ? { rank: 16 } : {}),
        out,
        baseModel: 'tiny',
        threads,
        onProgress: (done) => {
          if (done % 8 !== 0) return;
          peak = Math.max(peak, liveBytes() - before);
        },
      });
      expect(bytes).toBeGreaterThan(size);
      expect(peak).toBeLessThan(6e6);
      expect(digest).toBe(sha256File(join(out, 'adapter_model.safetensors')));
    },
  );
});
