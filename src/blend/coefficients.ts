/**
 * Blend coefficients from similarity scores: instant, no gradient and no search (Crayon, arXiv 2406.07007).
 *
 * Every estimator looks at the user's examples through their embeddings (n, d) and at the pool through its centroids (N, d).
 * Only N numbers come out, and they are all that ever needs to leave the device.
 */

import { CrayonError } from '../core/errors.js';
import { gate, keepLargest, type Rows, similaritiesTo } from '../core/gate.js';
import { mean } from '../core/stats.js';
import { argmax, meanRows, norm, normalise, oneHot, row } from '../core/vector.js';
import type { Pool } from '../pool/pool.js';
import {
  type GateChoice,
  gateBy,
  gateTerms,
  measured,
  type SimilarityStandard,
  standardLosses,
} from '../pool/standards.js';
import { type Coverage, checkCoverage } from './coverage.js';
import { checkCoefficients } from './plan.js';

/** The estimators that look at examples, and all, in the order of the documentation. */
export const EXAMPLE_ESTIMATORS = ['similarity', 'mean-gate', 'label-evidence', 'nearest'] as const;
export const ESTIMATORS = [...EXAMPLE_ESTIMATORS, 'uniform', 'given'] as const;

/**
 * - `similarity`: softmax_n( cos(q_c, c_n) / tau ), the paper's.
 * - `mean-gate`: mean_i softmax_n( cos(q(x_i), c_n) / tau ), the mean of the gates that joint training would have used for the
 *   examples: a user of two tasks gets both, in the shares in which they are shown.
 * - `label-evidence`: softmax_n( cos(q_c, c_n) / tau - lambda z_n ), z_n being the loss of adapter n alone on the examples, in
 *   deviations from its loss on the pool's held-out ones.
 * - `nearest`: 1 for the centroid nearest to q_c.
 * - `uniform`: 1 / N.
 * - `given`: the caller's own numbers, as they are.
 */
export type Estimator = (typeof ESTIMATORS)[number];

export interface EstimateOptions {
  /** Temperature of the softmax; the pool's manifest has the one it was trained with. */
  tau: number;
  /** For a softmax of standardised similarities in place of the cosines. */
  standard?: SimilarityStandard | null | undefined;
  /** For `label-evidence`: z (N), and how much it counts. */
  evidence?: { z: Float64Array; lambda: number } | undefined;
  /** Keep only the k largest coefficients, renormalised. */
  topK?: number | undefined;
  /** For `given`. */
  coefficients?: ArrayLike<number> | undefined;
}

export interface Estimate {
  /** alpha (N) */
  coefficients: Float64Array;
  /** cos(q_c, c_n) (N); null for estimators that look at no examples. */
  similarities: Float64Array | null;
}

/**
 * Estimates the blend's coefficients.
 *
 * @param examples embeddings of the user's examples; null is enough for `uniform` and `given`
 * @throws CrayonError `examples-count` without examples, `coefficients-invalid` for numbers that cannot be used, `bad-option`
 *   for a tau or topK out of range
 *
 * @example
 * const { coefficients } = estimateCoefficients('similarity', embeddings, centroids, { tau: 0.1, topK: 4 });
 */
export function estimateCoefficients(
  estimator: Estimator,
  examples: Rows | null,
  centroids: Rows,
  options: EstimateOptions,
): Estimate {
  const { tau, topK, standard = null, evidence } = options;
  if (!(tau > 0 && Number.isFinite(tau))) throw new CrayonError('bad-option', `tau ${tau}, expected a positive number`);
  if (estimator === 'given') {
    checkCoefficients(options.coefficients ?? [], centroids.n);
    const given = Float64Array.from(options.coefficients!);
    const coefficients = topK === undefined ? given : keepLargest(given, topK);
    checkCoefficients(coefficients, centroids.n); // those that are left may be scaled up
    return { coefficients, similarities: null };
  }
  if (estimator === 'uniform') {
    return { coefficients: new Float64Array(centroids.n).fill(1 / centroids.n), similarities: null };
  }
  if (examples === null || examples.n === 0) {
    throw new CrayonError('examples-count', `${estimator} needs examples, found none`, {
      hint: 'Give a file with examples, or use the uniform or given coefficients.',
    });
  }
  const similarities = similaritiesTo(queryEmbedding(examples), centroids);
  const coefficients = BY_EXAMPLES[estimator]({ examples, centroids, similarities, tau, standard, evidence });
  return { coefficients: topK === undefined ? coefficients : keepLargest(coefficients, topK), similarities };
}

interface Seen extends Pick<EstimateOptions, 'tau' | 'evidence'> {
  examples: Rows;
  centroids: Rows;
  /** cos(q_c, c_n) (N) */
  similarities: Float64Array;
  standard: SimilarityStandard | null;
}

/** The estimators that look at examples. */
const BY_EXAMPLES: Record<(typeof EXAMPLE_ESTIMATORS)[number], (seen: Seen) => Float64Array> = {
  similarity: ({ similarities, ...terms }) => gateBy(similarities, terms),
  'mean-gate': ({ examples: { data, n, d }, centroids, ...terms }) => {
    const gates = Array.from({ length: n }, (_, i) => gateBy(similaritiesTo(row(data, i, d), centroids), terms));
    return Float64Array.from({ length: centroids.n }, (_, c) => mean(gates.map((alpha) => alpha[c]!)));
  },
  'label-evidence': ({ similarities, evidence, tau, standard }) => {
    if (evidence === undefined) throw new CrayonError('bad-option', 'label-evidence without the examples’ losses');
    const { z, lambda } = evidence;
    return gate(
      measured(similarities, standard).map((s, n) => s / tau - lambda * z[n]!),
      1,
    );
  },
  nearest: ({ similarities }) => oneHot(argmax(similarities), similarities.length),
};

/**
 * q_c: the mean of the examples' embeddings, normalised to length 1.
 *
 * @throws CrayonError `coefficients-invalid` when the mean has no direction
 */
function queryEmbedding({ data, n, d }: Rows): Float64Array {
  const query = normalise(meanRows(data, n, d));
  if (norm(query) > 0) return query;
  throw new CrayonError('coefficients-invalid', 'the examples’ mean embedding is zero: it is similar to no centroid', {
    hint: 'Give more examples, in the language and of the kind of the task.',
  });
}

/** How many examples a user shows. */
export const EXAMPLE_LIMITS = { min: 3, max: 50 };

export interface BlendEstimate {
  coefficients: number[];
  /** Cosine of the examples' mean with each centroid; null when no examples were given. */
  similarities: number[] | null;
  coverage: Coverage | null;
  /** Number of examples that were embedded. */
  examples: number;
  /** Where coefficients took gradient steps: steps, and the loss of the examples before and after. */
  refined?: { steps: number; before: number; after: number } | undefined;
}

/** How much a deviation of the loss counts in `label-evidence` (docs/experiments.md). */
export const EVIDENCE_LAMBDA = 4;

export interface BlendChoice extends GateChoice, Partial<Pick<EstimateOptions, 'topK' | 'coefficients'>> {
  /** For `label-evidence`: how much a deviation of the loss counts. */
  lambda?: number | undefined;
}

/** A user's examples, as a pool sees them. */
export interface SeenExamples {
  /** embeddings in the pool's space */
  rows: Rows;
  /** (K, N) of each adapter alone on them, as `withPoolLosses` gives them; for `label-evidence` */
  losses?: ArrayLike<number> | undefined;
}

/**
 * What a user's examples say about a pool: in which shares its adapters are blended, and how well they cover the task.
 *
 * @param seen null is enough for `uniform` and `given`
 * @param choice tau is the pool's own when absent
 * @throws CrayonError what estimateCoefficients throws, `pool-invalid` where the pool lacks what an option needs
 */
export function estimateBlend(
  pool: Pool,
  estimator: Estimator,
  seen: SeenExamples | null,
  choice: BlendChoice = {},
): BlendEstimate {
  const { manifest } = pool;
  const space = centroidsOf(pool);
  const { coefficients, similarities } = estimateFrom(pool, estimator, seen, choice);
  return {
    coefficients: [...coefficients],
    similarities: similarities === null ? null : [...similarities],
    coverage: seen === null ? null : checkCoverage(seen.rows, space, manifest.clusters),
    examples: seen?.rows.n ?? 0,
  };
}

/** The coefficients (N) that the other examples give: evidence on examples `left`, which they have not seen. */
export function coefficientsWithout(
  pool: Pool,
  estimator: Estimator,
  { rows, losses }: SeenExamples,
  left: readonly number[],
  choice: BlendChoice = {},
): Float64Array {
  const { n, d } = rows;
  const { N } = pool.manifest;
  const data = without(rows.data, left, d);
  const others = { rows: { data, n: n - left.length, d }, losses: losses && without(losses, left, N) };
  return estimateFrom(pool, estimator, others, choice).coefficients;
}

/** Rows of a size, less some. */
function without(data: ArrayLike<number>, left: readonly number[], size: number): Float64Array {
  const kept = Array.from({ length: data.length / size }, (_, i) => i).filter((i) => !left.includes(i));
  const rest = new Float64Array(kept.length * size);
  for (const [to, i] of kept.entries()) for (let j = 0; j < size; j++) rest[to * size + j] = data[i * size + j]!;
  return rest;
}

function estimateFrom(pool: Pool, estimator: Estimator, seen: SeenExamples | null, choice: BlendChoice): Estimate {
  const { topK, coefficients, lambda = EVIDENCE_LAMBDA } = choice;
  const losses = estimator === 'label-evidence' ? seen?.losses : undefined;
  const evidence = losses && { z: standardLosses(pool, losses), lambda };
  return estimateCoefficients(estimator, seen?.rows ?? null, centroidsOf(pool), {
    ...gateTerms(pool, choice),
    topK,
    coefficients,
    evidence,
  });
}

const centroidsOf = ({ manifest, centroids }: Pool): Rows => ({
  data: centroids,
  n: manifest.N,
  d: manifest.embedding.dim,
});
