/**
 * A pool directory: pool.json, centroids.safetensors and one PEFT adapter directory for each base LoRA.
 */

import assert from 'node:assert';
import { join, sep } from 'node:path';
import { CrayonError } from '../core/errors.js';
import { firstNonFinite } from '../core/vector.js';
import { sha256File } from '../files/digest.js';
import { exists, realPath } from '../files/io.js';
import { writeJson } from '../files/json.js';
import { ADAPTER_WEIGHTS, openPeftAdapter, type PeftAdapter } from '../peft/read.js';
import { SafetensorsFile } from '../safetensors/read.js';
import { type TensorToWrite, writeSafetensors } from '../safetensors/write.js';
import { embeddingKind } from './embed/kinds.js';
import { checkManifest, POOL_MANIFEST, type PoolManifest, readManifest } from './manifest.js';

export { POOL_MANIFEST, type PoolCluster, type PoolManifest, SIMILARITY_QUANTILES } from './manifest.js';

const CENTROIDS = 'centroids.safetensors';

/** What is kept beside the manifest; N base LoRAs, d embedding size, V vocabulary. */
export interface PoolTensors {
  /** (N, d) row-major */
  centroids: Float32Array;
  /** (d), of a centred embedding; else null */
  mean: Float32Array | null;
  /** (V), of tf-idf or an idf-weighted embedding; else null */
  idf: Float32Array | null;
}

export interface Pool extends PoolTensors {
  readonly dir: string;
  readonly manifest: PoolManifest;
  /** Opens base LoRA n, 0 <= n < N; the caller closes it. */
  openAdapter(n: number): PeftAdapter;
  /** Reads every adapter's bytes and compares digests. @throws CrayonError `pool-invalid` naming those that differ */
  verify(): void;
}

export function isPoolDirectory(dir: string): boolean {
  return exists(join(dir, POOL_MANIFEST));
}

/**
 * Opens a pool and checks its manifest and centroids; adapters are opened one by one.
 *
 * @throws CrayonError `path-not-recognised`, `file-not-found`, `pool-invalid`, `safetensors-invalid`
 *
 * @example
 * const pool = openPool('pools/demo');
 * const adapter = pool.openAdapter(0);
 */
export function openPool(dir: string): Pool {
  const path = join(dir, POOL_MANIFEST);
  if (!exists(path)) {
    if (!exists(dir)) throw new CrayonError('file-not-found', `${dir}: no such pool directory`);
    throw new CrayonError('path-not-recognised', `${dir}: no ${POOL_MANIFEST}, so not a pool directory`);
  }
  const manifest = readManifest(path);
  const tensors = readTensors(join(dir, CENTROIDS), manifest);
  return {
    dir,
    manifest,
    ...tensors,
    openAdapter: (n) => openMember(dir, manifest, n),
    verify: () => verifyDigests(dir, manifest),
  };
}

/**
 * Writes pool.json and centroids.safetensors into a directory that already has the adapters: usually the temporary one
 * of an `AtomicDirectory`.
 */
export function writePoolManifest(dir: string, manifest: PoolManifest, tensors: PoolTensors): void {
  checkManifest(manifest, join(dir, POOL_MANIFEST));
  const { N, embedding } = manifest;
  const { centroids, mean, idf } = tensors;
  assert.equal(centroids.length, N * embedding.dim, 'centroids must be (N, d)');
  assert.equal(mean !== null, embedding.centred, 'mean goes with a centred embedding');
  assert.equal(idf !== null, usesIdf(manifest), 'idf goes with an embedding that uses it');
  const entries: TensorToWrite[] = [
    { name: 'centroids', dtype: 'F32', shape: [N, embedding.dim], data: centroids },
    ...(mean === null ? [] : [{ name: 'mean', dtype: 'F32' as const, shape: [mean.length], data: mean }]),
    ...(idf === null ? [] : [{ name: 'idf', dtype: 'F32' as const, shape: [idf.length], data: idf }]),
  ];
  writeSafetensors(join(dir, CENTROIDS), entries, { format: 'pt' });
  writeJson(join(dir, POOL_MANIFEST), manifest);
}

/** SHA-256 of an adapter directory's weights file, as the manifest keeps it. */
export function adapterDigest(dir: string): string {
  return sha256File(join(dir, ADAPTER_WEIGHTS));
}

function usesIdf({ embedding }: PoolManifest): boolean {
  return 'fit' in embeddingKind(embedding.kind).kind || embedding.idfWeighted === true;
}

function readTensors(path: string, manifest: PoolManifest): PoolTensors {
  const file = SafetensorsFile.open(path);
  const bad: string[] = [];
  const read = (name: string, isWanted: boolean, shape: Array<number | null>): Float32Array | null => {
    const info = file.tensors.get(name);
    if (!isWanted) {
      if (info !== undefined) bad.push(`"${name}" is there, but ${POOL_MANIFEST} says it is not used`);
      return null;
    }
    const isRight =
      info?.shape.length === shape.length && shape.every((size, i) => size === null || size === info.shape[i]);
    if (info === undefined || !isRight) {
      bad.push(
        `"${name}" is ${info === undefined ? 'missing' : `[${info.shape}]`}, expected [${shape.map((x) => x ?? 'V')}]`,
      );
      return null;
    }
    const data = file.readF32(name);
    if (firstNonFinite(data) !== -1) bad.push(`"${name}" has NaN or infinity`);
    return data;
  };
  try {
    const { dim, centred } = manifest.embedding;
    const centroids = read('centroids', true, [manifest.N, dim]);
    const mean = read('mean', centred, [dim]);
    const idf = read('idf', usesIdf(manifest), [null]);
    if (bad.length > 0 || centroids === null) throw new CrayonError('pool-invalid', `${path}: ${bad.join('; ')}`);
    return { centroids, mean, idf };
  } finally {
    file.close();
  }
}

function openMember(dir: string, manifest: PoolManifest, n: number): PeftAdapter {
  const entry = manifest.adapters[n];
  assert(entry !== undefined, `adapter ${n} of ${manifest.N}`);
  const path = join(dir, entry.dir);
  if (!exists(path)) {
    throw new CrayonError('file-not-found', `${path}: no such adapter directory, but ${POOL_MANIFEST} names it`, {
      hint: 'The pool is not complete: copy it again, or build it again.',
    });
  }
  // The manifest's path has no "..", but a link could still lead out of the pool.
  if (!`${realPath(path)}${sep}`.startsWith(`${realPath(dir)}${sep}`)) {
    throw new CrayonError('pool-invalid', `${path}: a link that leads out of the pool`);
  }
  const adapter = openPeftAdapter(path);
  const { r, loraAlpha } = adapter.config;
  if (r === entry.r && loraAlpha === entry.loraAlpha) return adapter;
  adapter.close();
  const expected = `r ${entry.r} and lora_alpha ${entry.loraAlpha} as in ${POOL_MANIFEST}`;
  throw new CrayonError('pool-invalid', `${path}: r ${r} and lora_alpha ${loraAlpha}, expected ${expected}`);
}

function verifyDigests(dir: string, manifest: PoolManifest): void {
  const bad = manifest.adapters.filter((entry) => adapterDigest(join(dir, entry.dir)) !== entry.sha256);
  if (bad.length === 0) return;
  const names = bad.map((entry) => join(entry.dir, ADAPTER_WEIGHTS)).join(', ');
  throw new CrayonError('pool-invalid', `${dir}: changed since the pool was built: ${names}`);
}
