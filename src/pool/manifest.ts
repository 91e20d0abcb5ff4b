/**
 * pool.json, the description of a pool of base LoRAs: its type and its checks.
 */

import * as z from 'zod';
import { CrayonError } from '../core/errors.js';
import { readJson } from '../files/json.js';
import { checked, positive, sha256Text, text, whole } from '../files/schema.js';
import { findEmbeddingKind } from './embed/kinds.js';

export const POOL_MANIFEST = 'pool.json';
const MAX_MANIFEST_BYTES = 64 * 2 ** 20;

/** Percentages of the stored similarity quantiles. */
export const SIMILARITY_QUANTILES = [0, 5, 25, 50, 75, 95, 100] as const;

const quantiles = z
  .array(z.number())
  .refine(
    (q) => q.length === SIMILARITY_QUANTILES.length && q.every((x, i) => i === 0 || x >= q[i - 1]!),
    `${SIMILARITY_QUANTILES.length} ascending numbers`,
  );

/** A path that stays in the pool's directory, whatever the machine. */
const insidePath = z
  .string()
  .refine(
    (path) => /^[^/\\:]+(\/[^/\\:]+)*$/.test(path) && !path.split('/').some((part) => /^\.\.?$/.test(part)),
    'a relative path inside the pool',
  );

const CLUSTER = z.object({
  /** Training examples nearest to this centroid. */
  size: whole(0),
  lossBefore: z.number().nullable(),
  lossAfter: z.number().nullable(),
  /** Training examples by dataset name. */
  tasks: z.record(z.string(), whole(0)),
  /** Ids of the examples nearest to the centroid, nearest first. */
  nearest: z.array(text),
  /** Cosine of the training examples with this, their own centroid; quantiles at `SIMILARITY_QUANTILES`. */
  similarity: z.object({ mean: z.number(), quantiles }),
});
export type PoolCluster = z.output<typeof CLUSTER>;

/** Keys that another version has added mean nothing here. */
const MANIFEST = z.object({
  format: z.literal('crayon-pool'),
  version: z.literal(1),
  /** Program and version that wrote it. */
  createdBy: text,
  base: z.object({
    name: text,
    modelType: text,
    digest: sha256Text,
    tokenizerDigest: sha256Text,
    hiddenSize: whole(1),
  }),
  embedding: z.object({
    kind: z.string().refine((name) => findEmbeddingKind(name) !== undefined, 'an embedding kind'),
    /** The training set's mean is subtracted. */
    centred: z.boolean(),
    /** d */
    dim: whole(1),
    /** Tokens count by their inverse document frequency. */
    idfWeighted: z.boolean().optional(),
  }),
  /** Number of base LoRAs, clusters and centroids. */
  N: whole(1),
  seed: whole(0),
  /** Temperature of the gate that the pool was trained with. */
  tau: positive,
  training: z.record(z.string(), z.unknown()),
  data: z.array(z.object({ path: text, sha256: sha256Text, examples: whole(0) })),
  clusters: z.array(CLUSTER),
  silhouette: z.number().nullable(),
  /** `dir` is relative to the pool's directory. */
  adapters: z.array(z.object({ dir: insidePath, r: whole(1), loraAlpha: positive, sha256: sha256Text })),
});
export type PoolManifest = z.output<typeof MANIFEST>;

/**
 * Checks a manifest that was read from `path` or is about to be written there.
 *
 * @throws CrayonError `pool-invalid` naming every problem
 */
export function checkManifest(json: unknown, path: string): PoolManifest {
  checked(MANIFEST, json, { where: path, code: 'pool-invalid' });
  // The value as it was read: a blend names its pool by the digest of this JSON, with its order and all of its keys.
  const manifest = json as PoolManifest;
  const { N, clusters, adapters } = manifest;
  if (clusters.length !== N || adapters.length !== N) {
    const found = `${clusters.length} clusters and ${adapters.length} adapters`;
    throw new CrayonError('pool-invalid', `${path}: ${found}, expected N = ${N} of each`);
  }
  if (new Set(adapters.map(({ dir }) => dir)).size !== N) {
    throw new CrayonError('pool-invalid', `${path}: two adapters have the same dir`);
  }
  return manifest;
}

export function readManifest(path: string): PoolManifest {
  return checkManifest(readJson(path, MAX_MANIFEST_BYTES), path);
}
