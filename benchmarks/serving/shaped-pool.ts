/** A pool of random adapters over any base, for what depends on shapes alone: every linear layer, rank 8, centroids of the first attention's space. */

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { createRandom } from '../../src/core/random.js';
import { writeDirectoryAtomic } from '../../src/files/atomic.js';
import { isDirectory } from '../../src/files/io.js';
import { openBase } from '../../src/gguf/base.js';
import { expectedShapes } from '../../src/hf/model.js';
import { writePeftAdapter } from '../../src/peft/write.js';
import { firstAttentionEmbedder } from '../../src/pool/embed/kinds/first-attention.js';
import { adapterDigest, writePoolManifest } from '../../src/pool/pool.js';

const RANK = 8;
const LAYER = /^(model\.layers\.\d+\..*_proj)\.weight$/;

/** The directory of a pool of N adapters within `cache`, made when it is first asked for. */
export function shapedPool(basePath: string, N: number, cache: string, name: string): string {
  const dir = join(cache, `pool-${name}-${N}`);
  if (isDirectory(dir)) return dir;
  const base = openBase(basePath);
  const random = createRandom(N, 'shaped-pool');
  const shapes = [...expectedShapes(base.config)].flatMap(([tensor, shape]) => {
    const layer = LAYER.exec(tensor)?.[1];
    return layer === undefined ? [] : [{ name: layer, out: shape[0]!, in: shape[1]! }];
  });
  // Gaussian numbers are drawn once: nobody reads them, and a pool has 10^8 of them.
  const drawn = Float32Array.from({ length: 1_000_003 }, () => random.normal());
  let at = 0;
  const values = (length: number, size: number) => () => {
    at = (at + 7919) % drawn.length;
    return Float32Array.from({ length }, (_, i) => size * drawn[(at + i) % drawn.length]!);
  };
  mkdirSync(cache, { recursive: true });
  writeDirectoryAtomic(dir, {}, (inside) => {
    const adapters = Array.from({ length: N }, (_, n) => {
      const path = `adapters/${n}`;
      mkdirSync(join(inside, 'adapters'), { recursive: true });
      writePeftAdapter(join(inside, path), {
        baseModel: 'base',
        r: RANK,
        loraAlpha: 2 * RANK,
        targetModules: [...new Set(shapes.map(({ name }) => name.split('.').at(-1)!))],
        modules: shapes.map((one) => ({
          ...one,
          r: RANK,
          a: values(RANK * one.in, 1 / Math.sqrt(one.in)),
          b: values(one.out * RANK, 0.005),
        })),
      });
      return { dir: path, r: RANK, loraAlpha: 2 * RANK, sha256: adapterDigest(join(inside, path)) };
    });
    const { d } = firstAttentionEmbedder(base);
    const centroids = Float32Array.from({ length: N * d }, () => random.normal());
    for (let n = 0; n < N; n++) {
      const row = centroids.subarray(n * d, (n + 1) * d);
      const length = Math.hypot(...row);
      for (let i = 0; i < d; i++) row[i]! /= length;
    }
    const quantiles = [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6];
    const cluster = { size: 1, lossBefore: null, lossAfter: null, tasks: {}, nearest: [] };
    writePoolManifest(
      inside,
      {
        format: 'crayon-pool',
        version: 1,
        createdBy: 'benchmarks/serving/shaped-pool.ts',
        base: {
          name: basePath,
          modelType: base.config.modelType,
          digest: base.digest(),
          tokenizerDigest: base.tokenizerDigest(),
          hiddenSize: base.config.hiddenSize,
        },
        embedding: { kind: 'first-attention', centred: false, dim: d },
        N,
        seed: 0,
        tau: 0.1,
        training: {},
        data: [],
        clusters: adapters.map(() => ({ ...cluster, similarity: { mean: 0.3, quantiles } })),
        silhouette: null,
        adapters,
      },
      { centroids, mean: null, idf: null },
    );
  });
  base.close();
  return dir;
}
