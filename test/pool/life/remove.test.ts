// npx vitest run test/pool/life/remove.test.ts
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { blendPool } from '../../../src/blend/blend-pool.js';
import { remakeBlend } from '../../../src/blend/remake.js';
import { isCrayonError } from '../../../src/core/errors.js';
import { dot, row } from '../../../src/core/vector.js';
import { loadDataset } from '../../../src/data/dataset.js';
import { HfModel } from '../../../src/hf/model.js';
import { beginPool } from '../../../src/pool/life/add.js';
import { idsOf } from '../../../src/pool/life/record.js';
import { mergePools, removeFromPool } from '../../../src/pool/life/remove.js';
import { openPool } from '../../../src/pool/pool.js';
import { EDGE, poolAdapter } from '../../helpers/edge-gguf.js';
import { errorOf, temporaryDir } from '../../helpers/files.js';
import { ROOT } from '../../helpers/fixtures.js';
import { copyOfPool, SHIPPED } from '../../helpers/shipped-pool.js';

const bytes = (...parts: string[]) => readFileSync(join(...parts, 'adapter_model.safetensors'));

async function blendOf(pool: string, coefficients: number[], estimator: 'given' | 'similarity' = 'given') {
  const out = join(temporaryDir(), 'blend');
  await blendPool({ pool, out, estimator: 'given', coefficients, combine: 'cat', long: 'error' });
  const path = join(out, 'crayon.json');
  // as a blend by similarity with these coefficients would have it
  writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, 'utf8')), estimator }));
  return out;
}

const codeOf = async (work: () => Promise<unknown>) => {
  const error = await work().then(
    () => null,
    (thrown: unknown) => thrown,
  );
  return isCrayonError(error) ? error.code : error;
};

describe('removeFromPool', () => {
  it('takes a cluster out for ever, and moves nothing else', async () => {
    const dir = copyOfPool();
    const { manifest } = await removeFromPool(dir, [1, 4]);
    expect(manifest).toMatchObject({ version: 3, N: 4, life: { version: 2, nextId: 6 } });
    expect(idsOf(manifest)).toEqual([0, 2, 3, 5]);
    expect(manifest.adapters.map(({ dir }) => dir)).toEqual(['adapters/0', 'adapters/2', 'adapters/3', 'adapters/5']);
    const [before, after] = [openPool(SHIPPED), openPool(dir)];
    after.verify();
    for (const [n, id] of idsOf(manifest).entries()) {
      expect(bytes(dir, 'adapters', `${id}`).equals(bytes(SHIPPED, 'adapters', `${id}`))).toBe(true);
      expect([...row(after.centroids, n, 3072)]).toEqual([...row(before.centroids, id, 3072)]);
      expect(manifest.clusters[n]).toEqual(before.manifest.clusters[id]);
    }
    expect(await codeOf(() => removeFromPool(dir, [1]))).toBe('bad-option'); // gone already
    expect(await codeOf(() => removeFromPool(dir, [0, 2, 3, 5]))).toBe('bad-option'); // none would be left
  });

  it('is refused by a reader that does not know of it, and by one that finds ids amiss', async () => {
    const dir = copyOfPool();
    await removeFromPool(dir, [1]);
    const path = join(dir, 'pool.json');
    const manifest = JSON.parse(readFileSync(path, 'utf8'));
    // versions 1 and 2 are all that earlier readers take
    expect(manifest.version).toBe(3);
    for (const change of [{ version: 1 }, { life: undefined }, { life: { ...manifest.life, nextId: 2 } }]) {
      writeFileSync(path, JSON.stringify({ ...manifest, ...change }));
      expect(errorOf(() => openPool(dir)).code).toBe('pool-invalid');
    }
  });
});

describe('remakeBlend', () => {
  it('makes the same adapter of a changed pool, as long as what it is made of is there', async () => {
    const dir = copyOfPool();
    const blend = await blendOf(dir, [0.6, 0, 0.4, 0, 0, 0]);
    await removeFromPool(dir, [1, 4]);
    const out = join(temporaryDir(), 'again');
    const { coefficients, notices } = await remakeBlend({ pool: dir, blend, out });
    expect(coefficients).toEqual([0.6, 0.4, 0, 0]);
    expect(notices).toEqual([]);
    expect(bytes(out).equals(bytes(blend))).toBe(true);
    // and of the pool that it was made of
    const same = join(temporaryDir(), 'same');
    await remakeBlend({ pool: SHIPPED, blend, out: same });
    expect(bytes(same).equals(bytes(blend))).toBe(true);
  });

  it('is the softmax over those that are left where similarities made it, and says why not otherwise', async () => {
    const dir = copyOfPool();
    const similar = await blendOf(dir, [0.5, 0.2, 0.3, 0, 0, 0], 'similarity');
    const mostly = await blendOf(dir, [0.1, 0.8, 0.1, 0, 0, 0], 'similarity');
    const given = await blendOf(dir, [0.5, 0.2, 0.3, 0, 0, 0]);
    await removeFromPool(dir, [1]);
    const again = (blend: string) => remakeBlend({ pool: dir, blend, out: join(temporaryDir(), 'again') });
    const { coefficients, notices } = await again(similar);
    expect(coefficients[0]).toBeCloseTo(0.625, 12);
    expect(coefficients[1]).toBeCloseTo(0.375, 12);
    expect(notices.join()).toContain('1 (0.200, removed)');
    expect(await codeOf(() => again(mostly))).toBe('coefficients-invalid');
    expect(await codeOf(() => again(given))).toBe('coefficients-invalid');
    const other = copyOfPool('other');
    const manifest = JSON.parse(readFileSync(join(other, 'pool.json'), 'utf8'));
    writeFileSync(join(other, 'pool.json'), JSON.stringify({ ...manifest, tau: 0.2 }));
    const out = join(temporaryDir(), 'x');
    expect(await codeOf(() => remakeBlend({ pool: other, blend: similar, out }))).toBe('coefficients-invalid');
  });
});

describe('mergePools', () => {
  it('keeps the ids of the first, gives the second the next ones, and understands the coefficients of both', async () => {
    const [a, b] = [copyOfPool('a'), copyOfPool('b')];
    await removeFromPool(a, [1, 3, 4, 5]);
    await removeFromPool(b, [0, 2, 5]);
    const [ofA, ofB] = [await blendOf(a, [0.9, 0.1]), await blendOf(b, [0.2, 0.3, 0.5])];
    const out = join(temporaryDir(), 'both');
    const { manifest, ids } = mergePools(a, b, out);
    expect(idsOf(manifest)).toEqual([0, 2, 6, 7, 8]); // 1, 3, 4 and 5 were given before
    expect(ids).toEqual([6, 7, 8]);
    openPool(out).verify();
    expect(bytes(out, 'adapters', '7').equals(bytes(SHIPPED, 'adapters', '3'))).toBe(true);
    for (const [blend, expected] of [
      [ofA, [0.9, 0.1, 0, 0, 0]],
      [ofB, [0, 0, 0.2, 0.3, 0.5]],
    ] as const) {
      const again = join(temporaryDir(), 'again');
      const { coefficients } = await remakeBlend({ pool: out, blend, out: again });
      expect(coefficients).toEqual(expected);
      expect(bytes(again).equals(bytes(blend))).toBe(true);
    }
    expect(errorOf(() => mergePools(a, b, out)).code).toBe('output-exists');
  });

  it('weighs centroids by the frequencies of the first, and refuses another base', async () => {
    const source = HfModel.open(EDGE);
    const made = async (task: string, n: number) => {
      const examples = loadDataset(join(ROOT, 'suite', `${task}.yaml`), { split: 'train', limit: 300 }).examples;
      const dir = join(temporaryDir(), task);
      const plain = { embedding: 'tfidf', centred: false, tau: 0.1, force: false, promptForm: 'plain' as const };
      await beginPool(dir, source, [{ dir: poolAdapter(n), examples }], plain);
      return dir;
    };
    const [bank, intent] = [await made('route-bank', 2), await made('intent', 4)];
    const out = join(temporaryDir(), 'both');
    const { notices } = mergePools(SHIPPED, intent, out);
    expect(notices.join()).toContain('frequencies');
    const centroids = openPool(out).centroids;
    const centroid = (n: number) => row(centroids, n, 3072);
    const own = row(openPool(intent).centroids, 0, 3072);
    // the build's cluster of intents is 4, in the frequencies of all six tasks
    expect(dot(centroid(6), centroid(4))).toBeGreaterThan(0.95);
    expect(dot(centroid(6), centroid(4))).toBeGreaterThan(dot(own, centroid(4)));
    const manifest = JSON.parse(readFileSync(join(bank, 'pool.json'), 'utf8'));
    manifest.base.digest = '0'.repeat(64);
    writeFileSync(join(bank, 'pool.json'), JSON.stringify(manifest));
    expect(errorOf(() => mergePools(SHIPPED, bank, join(temporaryDir(), 'no'))).code).toBe('pool-mismatch');
    source.close();
  });
});
