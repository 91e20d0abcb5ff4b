// npx vitest run test/pool/factors.test.ts
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { blendAdapters } from '../../src/blend/blend.js';
import { openPoolFactors, POOL_FACTORS, writePoolFactors } from '../../src/pool/factors.js';
import type { Pool } from '../../src/pool/pool.js';
import { SafetensorsFile } from '../../src/safetensors/read.js';
import { virtualAdapter } from '../blend/helpers.js';

const dir = mkdtempSync(join(tmpdir(), 'crayon-factors-'));
afterAll(() => rmSync(dir, { recursive: true }));

// four times as wide as the 4 x 16 components, so that both sides are kept
const shape = { in: 300, out: 400 };
const modules = (count: number) => Array.from({ length: count }, (_, i) => ({ name: `layers.${i}.proj`, ...shape }));
const adapters = [1, 2, 3, 4].map((seed) => virtualAdapter(seed, modules(3), 16));
const digests = ['a', 'b', 'c', 'd'];
const pool = (of = digests) => ({
  dir,
  manifest: { adapters: of.map((sha256) => ({ sha256 })) } as Pool['manifest'],
});
const blend = (
  out: string,
  combine: 'svd' | 'linear',
  coefficients: number[],
  factors: ReturnType<typeof openPoolFactors>,
) => blendAdapters({ adapters, coefficients, combine, rank: 16, out: join(dir, out), baseModel: 'tiny', factors });

const worst = (x: string, y: string): number => {
  const [one, other] = [x, y].map((name) => SafetensorsFile.open(join(dir, name, 'adapter_model.safetensors')));
  let largest = 0;
  for (const name of one!.tensors.keys()) {
    const a = one!.readF32(name);
    const b = other!.readF32(name);
    const size = Math.max(...a.map(Math.abs));
    for (let i = 0; i < a.length; i++) largest = Math.max(largest, Math.abs(a[i]! - b[i]!) / size);
  }
  for (const file of [one, other]) file!.close();
  return largest;
};

describe('factors of a pool', () => {
  it('are a fraction of the adapters’ size, and make the same blends', () => {
    writePoolFactors(dir, adapters, digests, 1);
    const bytes = statSync(join(dir, POOL_FACTORS)).size;
    const adapterBytes = 3 * 64 * (shape.in + shape.out) * 4;
    expect(bytes / adapterBytes).toBeGreaterThan(0.05);
    expect(bytes / adapterBytes).toBeLessThan(0.25);
    const factors = openPoolFactors(pool())!;
    try {
      for (const [i, coefficients] of [
        [0.1, 0.2, 0.3, 0.4],
        [0, 0.5, 0, 0.5],
      ].entries()) {
        const kept = blend(`svd-kept-${i}`, 'svd', coefficients, factors);
        const alone = blend(`svd-alone-${i}`, 'svd', coefficients, null);
        expect(worst(`svd-kept-${i}`, `svd-alone-${i}`)).toBeLessThan(1e-5);
        for (const [m, { relativeError }] of kept.modules.entries()) {
          expect(relativeError).toBeCloseTo(alone.modules[m]!.relativeError, 10);
        }
      }
      const kept = blend('linear-kept', 'linear', [0.1, 0.2, 0.3, 0.4], factors);
      const alone = blend('linear-alone', 'linear', [0.1, 0.2, 0.3, 0.4], null);
      expect(kept.digest).toBe(alone.digest);
      expect(kept.modules[0]!.relativeError).toBeCloseTo(alone.modules[0]!.relativeError, 10);
    } finally {
      factors.close();
    }
  });

  it('are those of the adapters that the manifest names, or none', () => {
    const factors = openPoolFactors(pool());
    expect(factors).not.toBeNull();
    factors?.close();
    expect(openPoolFactors(pool(['a', 'b', 'c', 'x']))).toBeNull();
    expect(openPoolFactors({ ...pool(), dir: join(dir, 'nowhere') })).toBeNull();
  });

  it('of a module that the file does not have are not there', () => {
    const factors = openPoolFactors(pool())!;
    expect(factors.triangles('layers.0.proj').a).toHaveLength((64 * 65) / 2);
    expect(factors.triangles('layers.99.proj')).toEqual({ a: null, b: null });
    factors.close();
  });

  it('refuse a damaged file', () => {
    const other = mkdtempSync(join(tmpdir(), 'crayon-factors-'));
    writeFileSync(join(other, POOL_FACTORS), 'no tensors');
    expect(() => openPoolFactors({ ...pool(), dir: other })).toThrow(
      expect.objectContaining({ code: 'safetensors-invalid' }),
    );
    rmSync(other, { recursive: true });
  });

  it('are not written for a small pool, nor where adapters do not fit', () => {
    const other = mkdtempSync(join(tmpdir(), 'crayon-factors-'));
    writePoolFactors(other, [virtualAdapter(1, modules(3), 8)], ['a']);
    writePoolFactors(
      other,
      [...adapters, virtualAdapter(9, [{ name: 'layers.0.proj', in: 3, out: 4 }], 2)],
      digests,
      1,
    );
    expect(existsSync(join(other, POOL_FACTORS))).toBe(false);
    rmSync(other, { recursive: true });
  });
});
