/** A configuration to the parts of a pool's server. */

import { join } from 'node:path';
import { openBase } from '../../gguf/base.js';
import { defaultCacheDir } from '../../gguf/cache.js';
import { refuseOtherBase } from '../../pool/embed/space.js';
import { openPool, type Pool, poolDigest } from '../../pool/pool.js';
import type { PoolServerConfig } from './config.js';
import { type BlendStore, openBlendStore, workersFor } from './store.js';

export interface PoolParts {
  pool: Pool;
  store: BlendStore;
  /** blends made at a time */
  workers: number;
  close(): void;
}

/**
 * @param dir the pool's directory
 * @throws CrayonError what opening pool and model throw, `pool-mismatch` for another base model, `memory-too-small`, `write-failed`
 */
export function assemblePool(config: PoolServerConfig, dir: string): PoolParts {
  const pool = openPool(dir);
  const { model, limits, cacheBytes, memoryBytes } = config;
  const base = model === null ? null : baseDigest(pool, model);
  const workers = workersFor(pool, limits.workers, memoryBytes);
  const digest = poolDigest(pool);
  const store = openBlendStore({
    ...{ pool: dir, model, digest, base, workers, cacheBytes },
    queue: limits.queue,
    dir: join(config.cacheDir ?? defaultCacheDir(), 'pool-server', digest.slice(0, 16)),
  });
  return { pool, store, workers, close: store.close };
}

function baseDigest(pool: Pool, model: string): string {
  const source = openBase(model, { someWeights: true });
  try {
    refuseOtherBase(pool, source);
    return source.digest();
  } finally {
    source.close();
  }
}
