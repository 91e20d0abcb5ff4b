// npx vitest run test/pool/life/add.test.ts
import { cpSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { blendPool } from '../../../src/blend/blend-pool.js';
import { isCrayonError } from '../../../src/core/errors.js';
import { argmax, dot, row } from '../../../src/core/vector.js';
import { type Example, loadDataset } from '../../../src/data/dataset.js';
import { HfModel } from '../../../src/hf/model.js';
import { chooseBackend, releaseBackend } from '../../../src/model/backend.js';
import { openPeftAdapter } from '../../../src/peft/read.js';
import { poolSpace } from '../../../src/pool/embed/space.js';
import { embedPrompts } from '../../../src/pool/gate.js';
import { addToPool, type BeginOptions, beginPool } from '../../../src/pool/life/add.js';
import { openPool } from '../../../src/pool/pool.js';
import { denseDelta, relativeDistance } from '../../blend/helpers.js';
import { EDGE, poolAdapter } from '../../helpers/edge-gguf.js';
import { temporaryDir } from '../../helpers/files.js';
import { fixture, fixtureJson, ROOT } from '../../helpers/fixtures.js';
import { copyOfPool, SHIPPED } from '../../helpers/shipped-pool.js';

const TASKS = ['route-school', 'list-first', 'route-bank', 'route-farm', 'intent', 'route-hospital'];
const source = HfModel.open(EDGE);
const examplesOf = (task: string, split: string, limit: number): Example[] =>
  loadDataset(join(ROOT, 'suite', `${task}.yaml`), { split, limit }).examples;
const plain: BeginOptions = { embedding: 'tfidf', centred: false, tau: 0.1, force: false, promptForm: 'plain' };

beforeAll(async () => {
  await chooseBackend('auto');
});
afterAll(() => {
  releaseBackend();
  source.close();
});

/** A foreign adapter: a member's files as PEFT would have them, with keys of its configuration changed. */
function foreign(n: number, change: object = {}, name = 'foreign'): string {
  const dir = join(temporaryDir(), name);
  cpSync(poolAdapter(n), dir, { recursive: true });
  rmSync(join(dir, 'crayon.json'));
  const path = join(dir, 'adapter_config.json');
  const config = { ...JSON.parse(readFileSync(path, 'utf8')), base_model_name_or_path: '/home/somebody/crayon-edge' };
  writeFileSync(path, JSON.stringify({ ...config, ...change }));
  return dir;
}

const files = (dir: string) =>
  (readdirSync(dir, { recursive: true, encoding: 'utf8' }) as string[])
    .filter((name) => existsSync(join(dir, name)) && name.includes('.'))
    .sort();

async function codeOf(work: () => Promise<unknown>): Promise<string> {
  try {
    await work();
  } catch (error) {
    if (isCrayonError(error)) return error.code;
    throw error;
  }
  return 'none';
}

describe('addToPool', () => {
  it('gives an adapter the next id and a centroid of its examples, and leaves everything else byte for byte', async () => {
    const dir = copyOfPool();
    const before = new Map(files(dir).map((name) => [name, readFileSync(join(dir, name))]));
    const examples = examplesOf('route-bank', 'train', 1200); // those that cluster 2 was built of
    const adapter = foreign(2);
    const { ids, manifest, notices } = await addToPool(dir, source, [{ dir: adapter, examples }]);
    expect(ids).toEqual([6]);
    expect(manifest).toMatchObject({ version: 3, N: 7, life: { version: 2, nextId: 7 } });
    expect(manifest.clusters[6]).toMatchObject({ size: 1200, tasks: { 'route-bank': 1200 } });
    expect(notices.join()).toContain('measure-pool');
    const pool = openPool(dir);
    pool.verify();
    for (const [name, bytes] of before) {
      if (name.startsWith('adapters/')) expect(readFileSync(join(dir, name)).equals(bytes)).toBe(true);
    }
    expect([...pool.centroids.subarray(0, 6 * 3072)]).toEqual([...openPool(SHIPPED).centroids]);
    // it lies where k-means has put the cluster of the same prompts
    const centroid = (n: number) => row(pool.centroids, n, 3072);
    expect(dot(centroid(6), centroid(2))).toBeCloseTo(1, 5);
    expect(dot(centroid(6), centroid(6))).toBeCloseTo(1, 5);
    // its weights are as they were, and no place of somebody's machine came along
    const weights = 'adapter_model.safetensors';
    expect(readFileSync(join(dir, 'adapters/6', weights)).equals(readFileSync(join(adapter, weights)))).toBe(true);
    expect(readFileSync(join(dir, 'adapters/6/adapter_config.json'), 'utf8')).not.toContain('somebody');
    expect(existsSync(`${dir}.changing`)).toBe(false);
  });

  it('blends what it added', async () => {
    const dir = copyOfPool();
    await addToPool(dir, source, [{ dir: foreign(2), examples: examplesOf('route-clinic', 'train', 60) }]);
    const out = join(temporaryDir(), 'blend');
    const shown = examplesOf('route-clinic', 'heldout', 10);
    const { coefficients } = await blendPool({
      ...{ pool: dir, model: EDGE, examples: shown, out, estimator: 'similarity', combine: 'cat', long: 'error' },
    });
    expect(argmax(coefficients)).toBe(6);
    const record = JSON.parse(readFileSync(join(out, 'crayon.json'), 'utf8'));
    expect(record).toMatchObject({ poolVersion: 2, clusters: [0, 1, 2, 3, 4, 5, 6] });
  });

  it('refuses what it cannot mix by name, and leaves the pool as it was', async () => {
    const dir = copyOfPool();
    const before = readFileSync(join(dir, 'pool.json'), 'utf8');
    const examples = examplesOf('route-bank', 'train', 20);
    const add = (adapter: string, given: Example[] | null = examples) =>
      codeOf(() => addToPool(dir, source, [{ dir: adapter, examples: given }]));
    expect(await add(foreign(0, { use_dora: true }))).toBe('adapter-unsupported');
    expect(await add(foreign(0, { r: 8 }))).toBe('adapter-invalid'); // other shapes than the configuration says
    expect(await add(fixture('lora', 'llama'))).toBe('adapter-mismatch'); // another base's shapes
    expect(await add(foreign(0), examples.slice(0, 3))).toBe('dataset-too-small');
    expect(await add(foreign(0), null)).toBe('bad-option'); // neither examples nor probes
    const otherBase = foreign(0);
    const base = { digest: '0'.repeat(64), tokenizerDigest: '0'.repeat(64) };
    writeFileSync(join(otherBase, 'crayon.json'), JSON.stringify({ format: 'crayon-adapter', base }));
    expect(await add(otherBase)).toBe('adapter-mismatch');
    const chat = foreign(0);
    writeFileSync(join(chat, 'chat_template.jinja'), '{{ messages }}');
    expect(await add(chat)).toBe('adapter-mismatch');
    expect(readFileSync(join(dir, 'pool.json'), 'utf8')).toBe(before);
    expect(readdirSync(join(dir, '..'))).toEqual(['pool']);
  });

  it('finds an adapter without examples by the prompts that it answers to most', async () => {
    const dir = join(temporaryDir(), 'mixed');
    const known = [1, 4].map((n) => ({ dir: poolAdapter(n), examples: examplesOf(TASKS[n]!, 'train', 60) }));
    const probes = [1, 4, 2].flatMap((n) => examplesOf(TASKS[n]!, 'train', 16));
    await beginPool(dir, source, known, { ...plain, probes });
    const { manifest } = await addToPool(dir, source, [{ dir: poolAdapter(2), examples: null }], { probes });
    expect(manifest.life!.members.map(({ gate }) => gate)).toEqual(['data', 'data', 'adapter']);
    expect(manifest.clusters[2]).toMatchObject({ tasks: {}, nearest: [] });
    const pool = openPool(dir);
    const space = poolSpace(pool);
    const tests = examplesOf('route-bank', 'test', 20);
    const rows = await embedPrompts(space, { source, tokenizer: source.tokenizer() }, tests);
    const nearest = tests.map((_, i) =>
      argmax([0, 1, 2].map((n) => dot(row(rows, i, space.d), row(pool.centroids, n, space.d)))),
    );
    expect(nearest.filter((n) => n === 2).length).toBeGreaterThanOrEqual(18);
  });
});

describe('beginPool', () => {
  const combine = fixtureJson<{ adapters: string[]; coefficients: Record<string, number[]>; svdRank: number }>(
    'peft-combine',
    'golden.json',
  );

  it.each([
    ['cat', 'cat', undefined],
    ['svd', 'svd', combine.svdRank],
  ] as const)(
    'makes a pool of mixed ranks, rsLoRA and patterns whose %s is what PEFT makes of them',
    async (name, kind, rank) => {
      const base = HfModel.open(fixture('models', 'llama'));
      const pool = join(temporaryDir(), 'pool');
      const examples = Array.from({ length: 8 }, (_, i): Example => {
        return { id: `e${i}`, dataset: 'made', prompt: `the ${i} words of a prompt`, completion: ' yes' };
      });
      const dirs = combine.adapters.map((adapter) => fixture('peft-combine', adapter));
      await beginPool(
        pool,
        base,
        dirs.map((dir) => ({ dir, examples })),
        plain,
      );
      base.close();
      const out = join(temporaryDir(), 'blend');
      const coefficients = combine.coefficients[name]!;
      await blendPool({
        pool,
        out,
        estimator: 'given',
        coefficients,
        combine: kind,
        long: 'error',
        ...(rank && { rank }),
      });
      const [ours, theirs] = [openPeftAdapter(out), openPeftAdapter(fixture('peft-combine', name))];
      expect(ours.modules.map((module) => module.name)).toEqual(theirs.modules.map((module) => module.name));
      for (const module of theirs.modules) {
        const expected = denseDelta([theirs], [1], module);
        expect(relativeDistance(denseDelta([ours], [1], module), expected)).toBeLessThan(2e-6);
      }
      for (const adapter of [ours, theirs]) adapter.close();
    },
  );

  it('names members by their directories, and is the same bytes each time', async () => {
    const examples = examplesOf('intent', 'train', 20);
    const made = await Promise.all(
      ['a', 'b'].map(async (name) => {
        const dir = join(temporaryDir(), name);
        await beginPool(dir, source, [{ dir: foreign(4, {}, 'intent'), examples }], plain);
        return dir;
      }),
    );
    const manifest = openPool(made[0]!).manifest;
    expect(manifest.life!.members).toEqual([{ id: 0, since: 1, changed: 1, gate: 'data', source: 'intent' }]);
    expect(manifest.base.name).toBe(basename(EDGE));
    for (const name of files(made[0]!)) {
      expect(readFileSync(join(made[0]!, name)).equals(readFileSync(join(made[1]!, name)))).toBe(true);
    }
  });
});
