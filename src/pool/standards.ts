/**
 * What a pool's own examples are to its centroids and its adapters: the measure of what a user's examples are to them. Free of
 * any tensor library.
 */

import { CrayonError } from '../core/errors.js';
import { gate } from '../core/gate.js';
import { mean } from '../core/stats.js';
import type { Pool, PoolManifest } from './pool.js';

type Standards = NonNullable<PoolManifest['standards']>;
export type SimilarityStandard = NonNullable<Standards['similarity']>;
export type LossStandard = NonNullable<Standards['loss']>;

/** Temperature of the gate over standardised similarities (docs/experiments.md). */
export const STANDARD_TAU = 0.15;

/** Where a deviation would be zero, nothing is told apart by it: any positive number does. */
const SMALLEST_DEVIATION = 1e-6;

/**
 * Each centroid has a mean of its own, since one that is near to everything should count for little; the deviation is one for
 * all, since that of a centroid alone is small where its cluster is, and a rare cluster would outweigh the others.
 *
 * @param similarities (n, N) cosines of the pool's own examples with its centroids, row-major
 */
export function similarityStandard(similarities: ArrayLike<number>, N: number): SimilarityStandard {
  const columns = columnsOf(similarities, N).map(momentsOf);
  return {
    examples: similarities.length / N,
    mean: columns.map((column) => column.mean),
    deviation: Math.max(Math.sqrt(mean(columns.map(({ variance }) => variance))), SMALLEST_DEVIATION),
  };
}

/**
 * Each adapter has a mean and a deviation of its own: one that is good, or bad, at everything says nothing by it.
 *
 * @param losses (n, N) of each adapter alone on examples that none was trained on, row-major; nats per completion token
 */
export function lossStandard(losses: ArrayLike<number>, N: number): LossStandard {
  const columns = columnsOf(losses, N).map(momentsOf);
  return {
    examples: losses.length / N,
    mean: columns.map((column) => column.mean),
    deviation: columns.map(({ variance }) => Math.max(Math.sqrt(variance), SMALLEST_DEVIATION)),
  };
}

function columnsOf(values: ArrayLike<number>, N: number): number[][] {
  return Array.from({ length: N }, (_, n) => Array.from({ length: values.length / N }, (_, i) => values[i * N + n]!));
}

function momentsOf(values: readonly number[]): { mean: number; variance: number } {
  const centre = mean(values);
  return { mean: centre, variance: mean(values.map((x) => (x - centre) ** 2)) };
}

/** Which gate: that of the training, or one over standardised similarities. */
export interface GateChoice {
  /** the pool's own when absent, or STANDARD_TAU */
  tau?: number | undefined;
  /** similarities are taken less their mean, over their deviation, of the pool's own examples */
  standardise?: boolean | undefined;
}

/** @throws CrayonError `pool-invalid` where the pool does not say what is needed */
export function gateTerms(pool: Pool, { tau, standardise }: GateChoice) {
  if (standardise !== true) return { tau: tau ?? pool.manifest.tau, standard: null };
  return { tau: tau ?? STANDARD_TAU, standard: needed(pool, 'similarity', 'standardised similarities') };
}

/** alpha (N) of cosines (N), as they are or standardised. */
export function gateBy(
  similarities: Float64Array,
  { tau, standard }: { tau: number; standard: SimilarityStandard | null },
): Float64Array {
  return gate(measured(similarities, standard), tau);
}

/** Cosines (N) less the means, over the deviation; as they are without a standard. */
export function measured(similarities: Float64Array, standard: SimilarityStandard | null): Float64Array {
  if (standard === null) return similarities;
  return similarities.map((cosine, n) => (cosine - standard.mean[n]!) / standard.deviation);
}

/**
 * z (N): how far each adapter's loss on a user's examples lies from its loss on the pool's held-out ones, in deviations; the mean
 * over the examples. Negative where the examples are easier for it than usual.
 *
 * @param losses (K, N) as `lossStandard` takes them
 * @throws CrayonError `pool-invalid` where the pool does not say what is needed
 */
export function standardLosses(pool: Pool, losses: ArrayLike<number>): Float64Array {
  const standard = needed(pool, 'loss', 'label evidence');
  const columns = columnsOf(losses, pool.manifest.N);
  return Float64Array.from(columns, (column, n) => (mean(column) - standard.mean[n]!) / standard.deviation[n]!);
}

/** Refused before any work. */
export function needed<Of extends keyof Standards>(
  { dir, manifest }: Pool,
  of: Of,
  what: string,
): NonNullable<Standards[Of]> {
  const found = manifest.standards?.[of];
  if (found !== undefined) return found;
  const measure = `crayon measure-pool --pool ${dir} --model ${manifest.base.name} --data FILE: examples of the pool's kinds that it was not trained on`;
  const build = of === 'loss' ? '; or build it with --held-out 8' : '';
  throw new CrayonError('pool-invalid', `${dir}: has no ${of} of its own examples, which ${what} is measured by`, {
    hint: `Measure it once, with ${measure}${build}.`,
  });
}
