/**
 * pool.json, the description of a pool of base LoRAs: its type and its checks.
 */

import { CrayonError } from '../core/errors.js';
import {
  checked,
  finite,
  flag,
  listOf,
  nullable,
  object,
  oneOf,
  optional,
  positive,
  recordOf,
  sha256Text,
  text,
  value,
  whole,
} from '../files/checks.js';
import { readJson } from '../files/json.js';

export const POOL_MANIFEST = 'pool.json';
const MAX_MANIFEST_BYTES = 64 * 2 ** 20;

/** Percentages of the stored similarity quantiles. */
export const SIMILARITY_QUANTILES = [0, 5, 25, 50, 75, 95, 100] as const;

export interface PoolCluster {
  /** Training examples nearest to this centroid. */
  size: number;
  lossBefore: number | null;
  lossAfter: number | null;
  /** Training examples by dataset name. */
  tasks: Record<string, number>;
  /** Ids of the examples nearest to the centroid, nearest first. */
  nearest: string[];
  /** Cosine of the training examples with this, their own centroid; quantiles at `SIMILARITY_QUANTILES`. */
  similarity: { mean: number; quantiles: number[] };
}

export interface PoolManifest {
  format: 'crayon-pool';
  version: 1;
  /** Program and version that wrote it. */
  createdBy: string;
  base: { name: string; modelType: string; digest: string; tokenizerDigest: string; hiddenSize: number };
  embedding: {
    /** 'first-attention', 'last-hidden', 'hidden:<layer>' or 'tfidf' */
    kind: string;
    /** The training set's mean is subtracted. */
    centred: boolean;
    /** d */
    dim: number;
    /** Tokens count by their inverse document frequency. */
    idfWeighted?: boolean;
  };
  /** Number of base LoRAs, clusters and centroids. */
  N: number;
  seed: number;
  /** Temperature of the gate that the pool was trained with. */
  tau: number;
  training: Record<string, unknown>;
  data: Array<{ path: string; sha256: string; examples: number }>;
  clusters: PoolCluster[];
  silhouette: number | null;
  /** `dir` is relative to the pool's directory. */
  adapters: Array<{ dir: string; r: number; loraAlpha: number; sha256: string }>;
}

const quantiles = value(
  (x) =>
    Array.isArray(x) &&
    x.length === SIMILARITY_QUANTILES.length &&
    x.every((q, i) => Number.isFinite(q) && (i === 0 || q >= x[i - 1])),
  `${SIMILARITY_QUANTILES.length} ascending numbers`,
);

/** A path that stays in the pool's directory, whatever the machine. */
const insidePath = value(
  (x) =>
    typeof x === 'string' && /^[^/\\:]+(\/[^/\\:]+)*$/.test(x) && !x.split('/').some((part) => /^\.\.?$/.test(part)),
  'a relative path inside the pool',
);

const manifestSchema = object({
  format: oneOf('crayon-pool'),
  version: oneOf(1),
  createdBy: text,
  base: object({ name: text, modelType: text, digest: sha256Text, tokenizerDigest: sha256Text, hiddenSize: whole(1) }),
  embedding: object({
    kind: value(
      (x) => typeof x === 'string' && /^(first-attention|last-hidden|hidden:\d+|tfidf)$/.test(x),
      'an embedding kind',
    ),
    centred: flag,
    dim: whole(1),
    idfWeighted: optional(flag),
  }),
  N: whole(1),
  seed: whole(0),
  tau: positive,
  training: recordOf(() => {}),
  data: listOf(object({ path: text, sha256: sha256Text, examples: whole(0) })),
  clusters: listOf(
    object({
      size: whole(0),
      lossBefore: nullable(finite),
      lossAfter: nullable(finite),
      tasks: recordOf(whole(0)),
      nearest: listOf(text),
      similarity: object({ mean: finite, quantiles }),
    }),
  ),
  silhouette: nullable(finite),
  adapters: listOf(object({ dir: insidePath, r: whole(1), loraAlpha: positive, sha256: sha256Text })),
});

/**
 * Checks a manifest that was read from `path` or is about to be written there.
 *
 * @throws CrayonError `pool-invalid` naming every problem
 */
export function checkManifest(json: unknown, path: string): PoolManifest {
  const manifest = checked<PoolManifest>(json, manifestSchema, 'pool-invalid', path);
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
