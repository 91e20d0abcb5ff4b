/** How often a router decides the same of a prompt with typos, or of a reworded one, by the cut that it has for prompts as they are. */

import { weightedMean } from '../../core/nested-mean.js';
import type { Interval } from '../../core/stats.js';
import type { Perturbation } from '../perturb.js';

/** Of the changed prompts, at the cut. */
export interface Robustness {
  /** share of them whose decision stays what it was */
  unchanged: Interval;
  /** share of them that go to the server */
  sent: Interval;
}

export type RobustnessOf = Partial<Record<Perturbation, Robustness>>;

/** The cut below which this share of the scores lies, halfway to the next one; among equal scores, below them all. */
export function cutAt(scores: Float64Array, share: number): number {
  const ascending = scores.toSorted();
  const k = Math.round(share * scores.length);
  if (k === 0) return Number.NEGATIVE_INFINITY;
  return k === scores.length ? Number.POSITIVE_INFINITY : (ascending[k - 1]! + ascending[k]!) / 2;
}

/**
 * @param scores of the prompts as they are (n), those below the cut going to the server; `changed` of the same ones, changed
 * @param share that goes to the server of the prompts as they are
 * @param draws how often each counts in each resample; the cut stays
 */
export function robustness(
  scores: Float64Array,
  changed: Float64Array,
  share: number,
  draws: readonly Uint16Array[],
): Robustness {
  const cut = cutAt(scores, share);
  const all = [...scores.keys()];
  const isSent = Array.from(changed, (score) => Number(score < cut));
  return {
    unchanged: weightedMean(
      isSent.map((sent, i) => Number(sent === Number(scores[i]! < cut))),
      draws,
      all,
    ),
    sent: weightedMean(isSent, draws, all),
  };
}
