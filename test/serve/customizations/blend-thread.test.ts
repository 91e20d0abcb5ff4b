/** A served blend goes from the pool's adapters into the GGUF; by way of a PEFT directory it is the same file. */

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { blendAdapters } from '../../../src/blend/blend.js';
import { exportAdapterGguf } from '../../../src/gguf/adapter.js';
import { cachedModelGguf } from '../../../src/gguf/cache.js';
import { openPool } from '../../../src/pool/pool.js';
import { blendThread } from '../../../src/serve/customizations/blend-thread.js';
import { temporaryDir } from '../../helpers/files.js';
import { ROOT } from '../../helpers/fixtures.js';
import { closing } from '../helpers.js';

const BASE = join(ROOT, 'models', 'crayon-edge');
const POOL = join(ROOT, 'models', 'crayon-edge-pool');
const never = new AbortController().signal;
const coefficients = [0.5, 0, 0.25, 0.125, 0, 0.125];

function startThread(base = BASE) {
  return closing(blendThread({ pool: POOL, base, dir: temporaryDir() }), (thread) => thread.close());
}

/** As it was made before: a directory written, read back and exported. */
function byDirectory(combine: 'cat' | 'svd' | 'linear', base: string): Buffer {
  const dir = temporaryDir();
  const pool = openPool(POOL);
  const adapters = pool.manifest.adapters.map((_, n) => pool.openAdapter(n));
  const adapter = join(dir, 'blend');
  try {
    blendAdapters({ adapters, coefficients, combine, out: adapter, baseModel: pool.manifest.base.name });
  } finally {
    for (const one of adapters) one.close();
  }
  const out = join(dir, 'out.gguf');
  exportAdapterGguf({ adapter, base, out });
  return readFileSync(out);
}

describe('blendThread', () => {
  it.each(['cat', 'svd', 'linear'] as const)('%s: the same bytes as by way of a PEFT directory', async (combine) => {
    const { path, id } = await startThread().run({ coefficients, combine }, never);
    expect(path).toMatch(new RegExp(`${id}\\.lora\\.gguf$`));
    expect(readFileSync(path).equals(byDirectory(combine, BASE))).toBe(true);
  });

  it('reads a base model’s shapes from its GGUF too', async () => {
    const base = cachedModelGguf(BASE, { cacheDir: temporaryDir(), type: 'F32' });
    const { path } = await startThread(base).run({ coefficients, combine: 'cat' }, never);
    expect(readFileSync(path).equals(byDirectory('cat', base))).toBe(true);
  });

  it('makes equal blends once, and different ones each a file', async () => {
    const thread = startThread();
    const job = { coefficients, combine: 'cat' } as const;
    const made = [];
    for (const each of [job, job, { ...job, combine: 'svd' } as const, { ...job, coefficients: [1, 0, 0, 0, 0, 0] }]) {
      made.push(await thread.run(each, never));
    }
    expect(made[1]).toMatchObject({ id: made[0]!.id, path: made[0]!.path });
    expect(new Set(made.map(({ id }) => id)).size).toBe(3);
    expect(made.every(({ path }) => existsSync(path))).toBe(true);
  });

  it('tells what is wrong, and goes on', async () => {
    const thread = startThread();
    await expect(thread.run({ coefficients: [1], combine: 'cat' }, never)).rejects.toMatchObject({
      code: 'coefficients-invalid',
    });
    expect((await thread.run({ coefficients, combine: 'cat' }, never)).ms).toBeGreaterThan(0);
    const nowhere = closing(blendThread({ pool: 'nowhere', base: BASE, dir: temporaryDir() }), (t) => t.close());
    for (let i = 0; i < 2; i++) {
      await expect(nowhere.run({ coefficients, combine: 'cat' }, never)).rejects.toMatchObject({
        code: 'file-not-found',
      });
    }
    await expect(thread.run({ coefficients, combine: 'cat' }, AbortSignal.abort())).rejects.toMatchObject({
      code: 'interrupted',
    });
  });
});
