import { cpSync, mkdirSync, readFileSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  adapterDigest,
  openPool,
  type PoolManifest,
  type PoolTensors,
  writePoolManifest,
} from '../../src/pool/pool.js';
import { writeSafetensors } from '../../src/safetensors/write.js';
import { errorOf, temporaryDir } from '../helpers/files.js';
import { fixture } from '../helpers/fixtures.js';

const hex = 'a'.repeat(64);

const manifest: PoolManifest = {
  format: 'crayon-pool',
  version: 1,
  createdBy: 'crayon 0.1.0',
  base: { name: 'edge', modelType: 'llama', digest: hex, tokenizerDigest: hex, hiddenSize: 32 },
  embedding: { kind: 'first-attention', centred: true, dim: 3 },
  N: 2,
  seed: 7,
  tau: 0.1,
  training: { mode: 'joint', steps: 10 },
  data: [{ path: 'train.jsonl', sha256: hex, examples: 4 }],
  clusters: [0, 1].map((n) => ({
    size: 2,
    lossBefore: 3,
    lossAfter: null,
    tasks: { rte: 2 },
    nearest: [`rte:${n}`],
    similarity: { mean: 0.9, quantiles: [0.7, 0.75, 0.8, 0.9, 0.95, 0.98, 1] },
  })),
  silhouette: 0.4,
  adapters: ['lora-0', 'lora-1'].map((dir) => ({ dir, r: 4, loraAlpha: 8, sha256: hex })),
};
const tensors: PoolTensors = {
  centroids: Float32Array.of(1, 0, 0, 0, 1, 0),
  mean: Float32Array.of(0.1, 0.2, 0.3),
  idf: null,
};

/** A pool with the fixture adapter twice; `change` spoils its manifest after it was written. */
function poolDir(change: (manifest: PoolManifest) => void = () => {}): string {
  const dir = temporaryDir();
  const digest = adapterDigest(fixture('lora', 'llama'));
  const own = structuredClone(manifest);
  for (const adapter of own.adapters) {
    cpSync(fixture('lora', 'llama'), join(dir, adapter.dir), { recursive: true });
    adapter.sha256 = digest;
  }
  writePoolManifest(dir, own, tensors);
  const path = join(dir, 'pool.json');
  const json = JSON.parse(readFileSync(path, 'utf8'));
  change(json);
  writeFileSync(path, JSON.stringify(json));
  return dir;
}

// biome-ignore lint/suspicious/noExplicitAny: the tests put values of wrong types into a manifest
type Loose = any;

const refusal = (change: (manifest: Loose) => void) => {
  const dir = poolDir(change);
  return errorOf(() => openPool(dir));
};

describe('a pool', () => {
  it('reads back as it was written', () => {
    const dir = poolDir();
    const pool = openPool(dir);
    expect({ ...pool.manifest, adapters: [] }).toEqual({ ...manifest, adapters: [] });
    expect(pool.centroids).toEqual(tensors.centroids);
    expect(pool.mean).toEqual(tensors.mean);
    expect(pool.idf).toBeNull();
    const adapter = pool.openAdapter(1);
    expect(adapter.modules).toHaveLength(14);
    adapter.close();
    pool.verify();
    expect(() => pool.openAdapter(2)).toThrow(/adapter 2 of 2/);
  });

  it('has its manifest as it stands in the file, by whose digest blends name it: the order, and keys of other versions', () => {
    const dir = poolDir((json: Loose) => {
      const { seed } = json;
      delete json.seed;
      Object.assign(json, { later: { a_key: 1 }, seed });
      json.base = { ofAnother: true, ...json.base };
    });
    const json = readFileSync(join(dir, 'pool.json'), 'utf8');
    expect(JSON.stringify(openPool(dir).manifest)).toBe(json);
  });

  it('of tf-idf has document frequencies', () => {
    const dir = temporaryDir();
    const own = { ...manifest, embedding: { kind: 'tfidf', centred: false, dim: 3 } };
    writePoolManifest(dir, own, { centroids: tensors.centroids, mean: null, idf: Float32Array.of(1, 2, 3) });
    expect([...openPool(dir).idf!]).toEqual([1, 2, 3]);
    expect(() => writePoolManifest(dir, own, tensors)).toThrow(/mean goes with/);
  });
});

describe('a manifest is refused', () => {
  it.each<[string, (m: Loose) => void, RegExp]>([
    [
      'of another format',
      (m) => {
        m.format = 'zip';
      },
      /format is "zip"/,
    ],
    [
      'of a newer version',
      (m) => {
        m.version = 4;
      },
      /version is 4/,
    ],
    [
      'of the version that has a general adapter, without one',
      (m) => {
        m.version = 2;
      },
      /version 2 without a general adapter/,
    ],
    [
      'with a general adapter, of the version that has none',
      (m) => {
        m.general = { ...m.adapters[0], dir: 'g', learningRate: 0.1, epochs: 1, steps: 1, firstLoss: 1, lastLoss: 1 };
      },
      /version 1 with a general adapter/,
    ],
    [
      'with a general adapter where another one lies',
      (m) => {
        m.version = 2;
        m.general = { ...m.adapters[0], learningRate: 0.1, epochs: 1, steps: 1, firstLoss: 1, lastLoss: 1 };
      },
      /same dir/,
    ],
    [
      'with standards of another N',
      (m) => {
        m.standards = { loss: { examples: 1, mean: [1], deviation: [1] } };
      },
      /standards are not of N = 2/,
    ],
    [
      'without base',
      (m) => {
        delete m.base;
      },
      /base is missing/,
    ],
    [
      'with a digest that is none',
      (m) => {
        m.base.digest = 'xyz';
      },
      /base.digest/,
    ],
    [
      'with an unknown embedding',
      (m) => {
        m.embedding.kind = 'bert';
      },
      /embedding.kind/,
    ],
    [
      'with a temperature of 0',
      (m) => {
        m.tau = 0;
      },
      /tau is 0/,
    ],
    [
      'with numbers as text',
      (m) => {
        m.seed = '7';
      },
      /seed is "7"/,
    ],
    [
      'with too few clusters',
      (m) => {
        m.clusters.pop();
      },
      /1 clusters and 2 adapters, expected N = 2/,
    ],
    [
      'with quantiles out of order',
      (m) => {
        m.clusters[1].similarity.quantiles[0] = 2;
      },
      /clusters\[1\]\.similarity\.quantiles/,
    ],
    [
      'with too few quantiles',
      (m) => {
        m.clusters[0].similarity.quantiles.pop();
      },
      /clusters\[0\]\.similarity\.quantiles/,
    ],
    [
      'with one adapter twice',
      (m) => {
        m.adapters[1].dir = 'lora-0';
      },
      /same dir/,
    ],
    [
      'with an adapter above it',
      (m) => {
        m.adapters[0].dir = '../lora-0';
      },
      /adapters\[0\]\.dir/,
    ],
    [
      'with an absolute adapter path',
      (m) => {
        m.adapters[0].dir = '/lora-0';
      },
      /adapters\[0\]\.dir/,
    ],
    [
      'with a hidden way up',
      (m) => {
        m.adapters[0].dir = 'a/../../b';
      },
      /adapters\[0\]\.dir/,
    ],
    [
      'with a path of another system',
      (m) => {
        m.adapters[0].dir = 'C:\\x';
      },
      /adapters\[0\]\.dir/,
    ],
  ])('%s', (_name, change, message) => {
    const error = refusal(change);
    expect(error.code).toBe('pool-invalid');
    expect(error.message).toMatch(message);
  });

  it('with all its problems named at once', () => {
    const { message } = refusal((m) => {
      m.tau = -1;
      m.N = 0;
    });
    expect(message).toMatch(/N is 0.*tau is -1/);
  });

  it('also before it is written', () => {
    const own = { ...manifest, tau: Number.NaN };
    expect(errorOf(() => writePoolManifest(temporaryDir(), own, tensors)).code).toBe('pool-invalid');
  });
});

describe('centroids are refused', () => {
  const spoil = (entries: Array<[string, number[], number]>) => {
    const dir = poolDir();
    writeSafetensors(
      join(dir, 'centroids.safetensors'),
      entries.map(([name, shape, fill]) => {
        return { name, dtype: 'F32', shape, data: new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(fill) };
      }),
    );
    return errorOf(() => openPool(dir));
  };

  it('with all problems named at once', () => {
    const error = spoil([
      ['centroids', [2, 4], 1],
      ['idf', [3], 1],
    ]);
    expect(error.code).toBe('pool-invalid');
    expect(error.message).toMatch(/"centroids" is \[2,4\], expected \[2,3\].*"mean" is missing.*"idf" is there/);
  });

  it('that are not finite', () => {
    expect(
      spoil([
        ['centroids', [2, 3], Number.NaN],
        ['mean', [3], 0],
      ]).message,
    ).toContain('"centroids" has NaN');
  });
});

describe('adapters of a pool', () => {
  it('must have the rank and alpha of the manifest', () => {
    const pool = openPool(
      poolDir((m) => {
        m.adapters[0]!.r = 2;
      }),
    );
    expect(errorOf(() => pool.openAdapter(0)).code).toBe('pool-invalid');
    pool.openAdapter(1).close();
  });

  it('that were changed since are named by verify', () => {
    const dir = poolDir();
    const weights = join(dir, 'lora-1', 'adapter_model.safetensors');
    const bytes = readFileSync(weights);
    bytes[bytes.length - 1]! ^= 1;
    writeFileSync(weights, bytes);
    const error = errorOf(() => openPool(dir).verify());
    expect(error.code).toBe('pool-invalid');
    expect(error.message).toContain('lora-1');
    expect(error.message).not.toContain('lora-0');
  });

  it('may not be links that lead out of it', () => {
    const dir = poolDir();
    const outside = join(temporaryDir(), 'elsewhere');
    renameSync(join(dir, 'lora-0'), outside);
    symlinkSync(outside, join(dir, 'lora-0'));
    expect(errorOf(() => openPool(dir).openAdapter(0)).code).toBe('pool-invalid');
  });
});

describe('a path that is no pool', () => {
  it('is named with what is missing', () => {
    const dir = temporaryDir();
    expect(errorOf(() => openPool(join(dir, 'none'))).code).toBe('file-not-found');
    expect(errorOf(() => openPool(dir)).code).toBe('path-not-recognised');
    mkdirSync(join(dir, 'pool'));
    writeFileSync(join(dir, 'pool', 'pool.json'), JSON.stringify(manifest));
    expect(errorOf(() => openPool(join(dir, 'pool'))).code).toBe('file-not-found');
  });
});
