/** The coefficients that each candidate would give each example, had the user shown the others alone. */

import { coefficientsWithout, type SeenExamples } from '../blend/coefficients.js';
import { type Rows, similaritiesTo } from '../core/gate.js';
import { breather } from '../core/long-work.js';
import { row } from '../core/vector.js';
import type { Pool } from '../pool/pool.js';
import type { Candidate, PerQueryCandidate } from './candidates.js';

/**
 * alpha (N) of each example (K). A mixture for each prompt looks at no other example anyway.
 *
 * @param seen with losses for a candidate that looks at labels
 */
export async function leaveOneOut(pool: Pool, seen: SeenExamples, candidate: Candidate): Promise<Float64Array[]> {
  const { rows } = seen;
  if (candidate.kind === 'per-query') return gatesOf(pool, rows, candidate);
  const { estimator, ...choice } = candidate.rule(pool.manifest);
  const breathe = breather(); // of 50 sparse embeddings it takes a second
  const weights: Float64Array[] = [];
  for (let i = 0; i < rows.n; i++) {
    weights.push(coefficientsWithout(pool, estimator, seen, [i], choice));
    await breathe();
  }
  return weights;
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
