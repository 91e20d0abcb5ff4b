/** What a user's examples say about a pool: in which shares its adapters are blended, and how well they cover the task. */

import type { Rows } from '../core/gate.js';
import type { Pool } from '../pool/pool.js';
import { type EstimateOptions, type Estimator, estimateCoefficients } from './coefficients.js';
import { type Coverage, checkCoverage } from './coverage.js';

/** How many examples a user shows. */
export const EXAMPLE_LIMITS = { min: 3, max: 50 };

export interface BlendEstimate {
  coefficients: number[];
  /** Cosine of the examples' mean with each centroid; null when no examples were given. */
  similarities: number[] | null;
  coverage: Coverage | null;
  /** Number of examples that were embedded. */
  examples: number;
}

/**
 * @param rows embeddings of the examples in the pool's space; null is enough for `uniform` and `given`
 * @param options tau is the pool's own when absent
 * @throws CrayonError what estimateCoefficients throws
 */
export function estimateBlend(
  { manifest, centroids }: Pool,
  estimator: Estimator,
  rows: Rows | null,
  options: Partial<EstimateOptions>,
): BlendEstimate {
  const space: Rows = { data: centroids, n: manifest.N, d: manifest.embedding.dim };
  const tau = options.tau ?? manifest.tau;
  const { coefficients, similarities } = estimateCoefficients(estimator, rows, space, { ...options, tau });
  return {
    coefficients: [...coefficients],
    similarities: similarities === null ? null : [...similarities],
    coverage: rows === null ? null : checkCoverage(rows, space, manifest.clusters),
    examples: rows?.n ?? 0,
  };
}
