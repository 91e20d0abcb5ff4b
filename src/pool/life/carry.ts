/**
 * Coefficients that were kept with an earlier state of a pool, as coefficients of what it is now. A cluster keeps its id for ever, so a
 * coefficient stays with its adapter wherever that stands now; one whose adapter is gone, or is another one, is said to be lost.
 */

import { type Pool, poolDigest, servedDigest } from '../pool.js';
import { type EarlierPool, lifeOf, type PoolLife } from './record.js';

export interface LostShare {
  id: number;
  coefficient: number;
  why: 'removed' | 'changed';
}

export interface Carried {
  /** the pool's version that they were made with; null where another pool's that was merged into this one */
  from: number | null;
  /** alpha (N): those of clusters that stayed, 0 for those that came later */
  coefficients: Float64Array;
  /** of other numbers than zero */
  lost: LostShare[];
  /** ids that the coefficients do not know */
  added: number[];
}

/** The ids that the clusters of an earlier pool have here, in its order. */
function idsOfEarlier({ members, removed }: PoolLife, { version, ids }: EarlierPool): number[] {
  if (ids !== undefined) return ids;
  const then = [...members, ...removed.filter(({ until }) => version < until)].filter(({ since }) => since <= version);
  return then.map(({ id }) => id).sort((a, b) => a - b);
}

/**
 * @param digest of the pool that they were made with: its manifest's, or `servedDigest`
 * @param coefficients one for each cluster of that pool
 * @returns null where this pool does not descend from that one
 */
export function carryCoefficients(pool: Pool, digest: string, coefficients: ArrayLike<number>): Carried | null {
  const { manifest } = pool;
  const life = lifeOf(manifest);
  const places = new Map(life.members.map(({ id }, n) => [id, n]));
  const isNow = digest === poolDigest(pool) || digest === servedDigest(pool);
  const earlier: EarlierPool | undefined = isNow
    ? { version: life.version, manifest: digest, served: digest }
    : life.earlier.find(({ manifest: whole, served }) => whole === digest || served === digest);
  if (earlier === undefined) return null;
  const ids = idsOfEarlier(life, earlier);
  if (ids.length !== coefficients.length) return null;
  const carried = new Float64Array(manifest.N);
  const lost: LostShare[] = [];
  for (const [i, id] of ids.entries()) {
    const coefficient = coefficients[i]!;
    const n = places.get(id);
    if (n !== undefined && life.members[n]!.changed <= earlier.version) carried[n] = coefficient;
    else if (coefficient !== 0) lost.push({ id, coefficient, why: n === undefined ? 'removed' : 'changed' });
  }
  const known = new Set(ids);
  const added = [...places.keys()].filter((id) => !known.has(id));
  return { from: earlier.ids === undefined ? earlier.version : null, coefficients: carried, lost, added };
}

/** In words: `3 (0.42, removed)`. */
export const lostWords = (lost: readonly LostShare[]): string =>
  lost.map(({ id, coefficient, why }) => `${id} (${coefficient.toFixed(3)}, ${why})`).join(', ');

/** Where more than this share of a blend is gone, what is left was hardly meant. */
const MOST_LOST = 0.5;

/**
 * A softmax over fewer clusters is the same numbers, scaled to their sum. So are those of a blend by similarity when clusters are
 * removed; of one whose adapter and centroid are others, its similarity is not known. Null then, or where most of it is gone.
 */
export function withoutLost({ coefficients, lost }: Carried, estimator: string): Float64Array | null {
  const left = coefficients.reduce((sum, x) => sum + x, 0);
  const whole = left + lost.reduce((sum, { coefficient }) => sum + coefficient, 0);
  const isKnown = estimator === 'similarity' && lost.every(({ why }) => why === 'removed');
  if (!isKnown || !(left >= MOST_LOST * whole)) return null;
  return coefficients.map((x) => (x * whole) / left);
}
