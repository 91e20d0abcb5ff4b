/**
 * A pool as slots, one for each cluster, and a pool written from slots: what stays is the same file or its copy, byte for byte. The
 * directory is made beside the old one and takes its place by one rename, so whoever reads gets all of the old pool or all of the new.
 */

import { join } from 'node:path';
import { CrayonError } from '../../core/errors.js';
import { row } from '../../core/vector.js';
import { ensureDirectory, writeDirectoryAtomic } from '../../files/atomic.js';
import { copyTree } from '../../files/copy-tree.js';
import { entriesOf, exists, removeIfEmpty } from '../../files/io.js';
import { lock, unlock } from '../../files/lock.js';
import { CRAYON_VERSION } from '../../files/package.js';
import { POOL_FACTORS } from '../factors.js';
import {
  adapterDigest,
  CENTROIDS,
  FETCHED_POOL,
  openPool,
  POOL_MANIFEST,
  type Pool,
  type PoolCluster,
  type PoolManifest,
  type PoolTensors,
  poolDigest,
  servedDigest,
  writePoolManifest,
} from '../pool.js';
import { keepFactors } from '../write.js';
import { type EarlierPool, type LivingMember, lifeOf, type PoolLife } from './record.js';

export interface Slot extends LivingMember {
  cluster: PoolCluster;
  /** (d), length 1 */
  centroid: Float32Array;
  adapter: { r: number; loraAlpha: number };
  /** Puts the adapter's directory there. @param keeps the files may be the same ones as before, under another name */
  put(dir: string, keeps: boolean): void;
}

/** The clusters of a pool as they are. */
export function slotsOf(pool: Pool): Slot[] {
  const { manifest, centroids } = pool;
  const { dim } = manifest.embedding;
  return lifeOf(manifest).members.map((member, n) => {
    const { dir, r, loraAlpha } = manifest.adapters[n]!;
    return {
      ...member,
      cluster: manifest.clusters[n]!,
      centroid: row(centroids, n, dim),
      adapter: { r, loraAlpha },
      put: (to, keeps) => copyTree(join(pool.dir, dir), to, { link: keeps }),
    };
  });
}

/** Under which digests this pool's coefficients have been kept. */
export function earlierOf(pool: Pool): EarlierPool {
  const { version } = lifeOf(pool.manifest);
  return { version, manifest: poolDigest(pool), served: servedDigest(pool) };
}

/** A pool's life with its next version, in which nothing has changed yet. */
export function nextLife(pool: Pool): PoolOfSlots['life'] {
  const { version, nextId, removed, earlier } = lifeOf(pool.manifest);
  return { version: version + 1, nextId, removed, earlier: [...earlier, earlierOf(pool)] };
}

export interface PoolOfSlots {
  /** what of the manifest is no cluster's; `N`, `version`, `clusters`, `adapters`, `life` and `createdBy` are made */
  manifest: Omit<PoolManifest, 'N' | 'version' | 'clusters' | 'adapters' | 'life' | 'createdBy'>;
  /** by ascending id */
  slots: readonly Slot[];
  life: Omit<PoolLife, 'members'>;
  space: Pick<PoolTensors, 'mean' | 'idf'>;
  /** other files of the pool are taken from there */
  beside: string | null;
}

/** What a change makes anew. */
const MADE = new Set([POOL_MANIFEST, CENTROIDS, POOL_FACTORS, 'adapters']);

/**
 * @param replaces the pool lies at `out` and is replaced
 * @throws CrayonError `output-exists`, `disk-full`, `write-failed`; the old pool is then what it was
 */
export function writeSlots(
  out: string,
  { manifest: rest, slots, life, space, beside }: PoolOfSlots,
  { replaces, force = false }: { replaces: boolean; force?: boolean },
): PoolManifest {
  const { dim } = rest.embedding;
  const centroids = new Float32Array(slots.length * dim);
  for (const [n, { centroid }] of slots.entries()) centroids.set(centroid, n * dim);
  const members = slots.map(({ id, since, changed, gate, source }): LivingMember => {
    return { id, since, changed, gate, ...(source === undefined ? {} : { source }) };
  });
  let manifest: PoolManifest;
  writeDirectoryAtomic(out, { force: force || replaces, marker: POOL_MANIFEST }, (dir) => {
    const others = beside === null ? [] : entriesOf(beside).filter((name) => !MADE.has(name));
    for (const name of others) copyTree(join(beside!, name), join(dir, name), { link: replaces });
    ensureDirectory(join(dir, 'adapters'));
    const adapters = slots.map(({ id, adapter, put }) => {
      const path = `adapters/${id}`;
      put(join(dir, path), replaces);
      const { r, loraAlpha } = adapter;
      return { dir: path, r, loraAlpha, sha256: adapterDigest(join(dir, path)) };
    });
    const version = 3 as const;
    const createdBy = `crayon ${CRAYON_VERSION}`;
    const clusters = slots.map(({ cluster }) => cluster);
    const { format, base, embedding, prompt, ...more } = rest;
    const head = { format, version, createdBy, base, embedding, prompt, N: slots.length };
    manifest = { ...head, ...more, clusters, adapters, life: { ...life, members } };
    if (manifest.standards === undefined) delete manifest.standards;
    keepFactors(dir, manifest);
    writePoolManifest(dir, manifest, { centroids, mean: space.mean, idf: space.idf });
  });
  return manifest!;
}

/** What a changed pool has of the one before. */
export function restOf({ manifest }: Pick<Pool, 'manifest'>): PoolOfSlots['manifest'] {
  const { N: _, version: __, clusters: ___, adapters: ____, life: _____, createdBy: ______, ...rest } = manifest;
  return rest;
}

/** Reads a pool, and has it alone until `change` has written it anew. @throws CrayonError `output-exists` while another process changes it */
export async function changing<T>(dir: string, change: (pool: Pool) => Promise<T> | T): Promise<T> {
  openPool(dir); // refused before anything is made
  if (exists(join(dir, FETCHED_POOL))) {
    throw new CrayonError('pool-invalid', `${dir}: what was fetched of a pool elsewhere, not the pool itself`, {
      hint: 'Change the pool where it lies; what is fetched follows by its digests.',
    });
  }
  const place = `${dir.replace(/[\\/]+$/, '')}.changing`;
  ensureDirectory(place);
  try {
    lock(place, 'pool');
    try {
      return await change(openPool(dir));
    } finally {
      unlock(place);
    }
  } finally {
    removeIfEmpty(place);
  }
}
