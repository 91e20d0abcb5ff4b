/** The coefficients that each candidate would give each example, had the user shown the others alone. */

import { coefficientsWithout, type SeenExamples } from '../blend/coefficients.js';
import { type Rows, similaritiesTo } from '../core/gate.js';
import { row } from '../core/vector.js';
import type { Pool } from '../pool/pool.js';
import type { Candidate, PerQueryCandidate } from './candidates.js';

/**
 * alpha (N) of each example (K). A mixture for each prompt looks at no other example anyway.
 *
 * @param seen with losses for a candidate that looks at labels
 */
export function leaveOneOut(pool: Pool, seen: SeenExamples, candidate: Candidate): Float64Array[] {
  const { rows } = seen;
  if (candidate.kind === 'fixed') {
    const { estimator, ...choice } = candidate.rule(pool.manifest);
    return Array.from({ length: rows.n }, (_, i) => coefficientsWithout(pool, estimator, seen, [i], choice));
  }
  return gatesOf(pool, rows, candidate);
}

/** alpha(x) (N) of prompts, each by itself. @param rows embeddings of the prompts */
export function gatesOf(
  { manifest, centroids }: Pool,
  { data, n, d }: Rows,
  { gate }: PerQueryCandidate,
): Float64Array[] {
  const space = { data: centroids, n: manifest.N, d };
  return Array.from({ length: n }, (_, i) => gate(similaritiesTo(row(data, i, d), space), manifest));
}
