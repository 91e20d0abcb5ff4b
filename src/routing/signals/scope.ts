/**
 * Is a query one of the customised task's? The user's examples make a profile: their mean direction q_c, and how near each
 * example is to the mean of the others. A query's nearness to q_c is read as a percentile of those.
 *
 * The percentiles are those of exchangeable draws: of n examples and one more query of the same kind, the query is the
 * lowest with chance 1 / (n + 1), so the i-th lowest example stands at 100 i / (n + 1) and not at 100 i / n. With 3 examples
 * nothing can be said about percentiles below 25 by counting; there the tail falls off exponentially with the examples' own
 * spread, which orders queries sensibly but is no measured frequency.
 *
 * The leave-one-out means rest on one example less than q_c, so the reference is a little low and the percentile of a query
 * a little high: a doubtful query rather stays on the device. Calibration takes this into account by itself.
 */

import assert from 'node:assert/strict';
import * as z from 'zod';
import { mean } from '../../core/stats.js';
import { cosine, type Floats, norm, normalise, row } from '../../core/vector.js';
import type { Query } from '../../engine/types.js';
import type { ScopeScore, Signal } from './signal.js';

export type { ScopeScore } from './signal.js';

const PERCENTILE = 'a percentile from 0 to 100';

export const scope = {
  name: 'scope',
  description: "Percentile of the user's own examples, 0 to 100: below it, the server.",
  stage: 'before-work',
  toServer: 'below',
  threshold: z.number(PERCENTILE).min(0, PERCENTILE).max(100, PERCENTILE),
  read: (evidence) => {
    const found = evidence.scope();
    return found === null ? null : { scope: found.percentile, similarity: found.similarity };
  },
  also: { similarity: 'cosine with your mean example' },
  title: 'scope percentile',
  unit: () => 'percentile of your examples',
  doubt: 'the query is unlike the examples of the task',
  meaning: (cut) => `less like the examples than ${cut} % of them are`,
  sendsNothing: 0,
  sendsAll: 100,
  features: {
    scope: (percentile: number) => percentile / 100,
    logScope: (percentile: number) => Math.log1p(percentile),
  },
} as const satisfies Signal;

/** Numbers only, and none of the user's text: q_c and the reference. Goes through JSON unchanged. */
export interface ScopeProfile {
  /** q_c (d), of length 1 */
  centre: number[];
  /** cosine of each example with the mean of the others, ascending (n) */
  reference: number[];
}

/** Asks for a query's score; null where there is no profile to compare with. */
export type ScopeFunction = (query: Query) => ScopeScore | null;

/** Spread below which examples count as alike: cosines of float32 embeddings are no more exact. */
const MIN_SPREAD = 1e-4;

/**
 * The profile of a user's examples.
 *
 * @param embeddings (n, d) row-major, of any length: they are normalised first, so that each example counts alike. n is at
 *   least 2; the blend takes 3 to 50.
 */
export function buildScopeProfile(embeddings: Floats, n: number, d: number): ScopeProfile {
  const { centre, reference } = measureScope(embeddings, n, d);
  return { centre: Array.from(centre), reference };
}

/** The same with the centre as typed numbers. */
export function measureScope(
  embeddings: Floats,
  n: number,
  d: number,
): Pick<ScopeProfile, 'reference'> & { centre: Float64Array } {
  assert.ok(
    n >= 2 && embeddings.length === n * d,
    `buildScopeProfile: ${embeddings.length} values are not (${n}, ${d})`,
  );
  const units = Array.from({ length: n }, (_, i) => normalise(row(embeddings, i, d)));
  const sum = new Float64Array(d);
  for (const unit of units) for (let j = 0; j < d; j++) sum[j]! += unit[j]!;
  assert.ok(
    sum.every((x) => Number.isFinite(x)),
    'buildScopeProfile: an embedding is not finite',
  );
  const others = new Float64Array(d);
  const reference = units.map((unit) => {
    for (let j = 0; j < d; j++) others[j] = sum[j]! - unit[j]!;
    return cosine(unit, others);
  });
  return { centre: normalise(sum), reference: reference.sort((a, b) => a - b) };
}

/** Where a query stands among the user's examples. @param embedding (d), of any length */
export function scopeScore(
  profile: Pick<ScopeProfile, 'reference'> & { centre: ArrayLike<number> },
  embedding: Floats,
): ScopeScore {
  const similarity = cosineWithUnit(embedding, profile.centre);
  return { similarity, percentile: percentileAmong(profile.reference, similarity) };
}

/**
 * Percentile, 0 to 100, of `x` among ascending cosines: strictly increasing in x. Between two of them it is interpolated,
 * several equal ones stand at their mean place, above the last it rises linearly to 100 at cosine 1.
 */
export function percentileAmong(ascending: readonly number[], x: number): number {
  const n = ascending.length;
  assert.ok(n > 0, 'percentileAmong: no reference');
  if (Number.isNaN(x)) return Number.NaN;
  const placeOf = (value: number) => {
    const below = ascending.filter((v) => v < value).length;
    const upTo = ascending.filter((v) => v <= value).length;
    return (100 * ((below + 1 + upTo) / 2)) / (n + 1);
  };
  if (ascending.includes(x)) return placeOf(x);
  const below = ascending.findLast((v) => v < x);
  if (below === undefined) return placeOf(ascending[0]!) * Math.exp(-(ascending[0]! - x) / spread(ascending));
  const next = ascending.find((v) => v > x);
  const [above, abovePlace] = next === undefined ? [1, 100] : [next, placeOf(next)];
  // A cosine of 1.0000001 is rounding; it stands at the top.
  if (above <= below) return abovePlace;
  const belowPlace = placeOf(below);
  return belowPlace + ((abovePlace - belowPlace) * (x - below)) / (above - below);
}

/** Standard deviation, population form: it is only a scale. */
function spread(values: readonly number[]): number {
  const centre = mean(values);
  return Math.max(MIN_SPREAD, Math.sqrt(mean(values.map((v) => (v - centre) ** 2))));
}

function cosineWithUnit(embedding: Floats, centre: ArrayLike<number>): number {
  assert.equal(embedding.length, centre.length, 'scopeScore: the embedding has another size than the profile');
  const length = norm(embedding);
  if (length === 0) return 0; // no direction, as in core/vector
  let sum = 0;
  for (let j = 0; j < centre.length; j++) sum += embedding[j]! * centre[j]!;
  return Math.min(1, Math.max(-1, sum / length));
}
