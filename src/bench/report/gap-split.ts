/**
 * Where the gap between device and server lies: which queries either of them answers rightly, for each user and for all. What no
 * router can gain, and what routing could lose, stands in it before anything is routed.
 */

import { weightedMean } from '../../core/nested-mean.js';
import type { Interval } from '../../core/stats.js';
import type { Judged } from '../../routing/calibrate/hybrid-curve.js';

/** Parts of the queries; `device` has those that both answer rightly too, and `onlyDevice` is a part of it. The others add up to 1. */
const PARTS = {
  device: ({ edge }: Judged) => edge,
  onlyDevice: ({ edge, server }: Judged) => edge * (1 - server),
  onlyServer: ({ edge, server }: Judged) => server * (1 - edge),
  neither: ({ edge, server }: Judged) => (1 - edge) * (1 - server),
};
const PART_NAMES = Object.keys(PARTS) as Array<keyof typeof PARTS>;

export interface SplitRow extends Record<keyof typeof PARTS, Interval> {
  /** of the user; all users together have none */
  user: string | null;
  examples: number;
}

/** An example with whose it is. */
export interface Owned extends Judged {
  /** index of the user */
  user: number;
}

/**
 * All users together, every query counting alike, then each of several.
 *
 * @param titles of the users
 * @param draws how often each example counts in each resample
 */
export function gapSplit(
  items: readonly Owned[],
  titles: readonly string[],
  draws: readonly Uint16Array[],
): SplitRow[] {
  const all = [...items.keys()];
  const values = PART_NAMES.map((name) => [name, items.map(PARTS[name])] as const);
  const rowOf = (user: string | null, at: readonly number[]): SplitRow => {
    const intervals = values.map(([name, ofPart]) => [name, weightedMean(ofPart, draws, at)]);
    return { user, examples: at.length, ...(Object.fromEntries(intervals) as Record<keyof typeof PARTS, Interval>) };
  };
  const each = titles.map((title, user) =>
    rowOf(
      title,
      all.filter((i) => items[i]!.user === user),
    ),
  );
  return [rowOf(null, all), ...(titles.length > 1 ? each : [])];
}
