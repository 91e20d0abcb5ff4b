/** How well a score orders: the chance that a case with label 1 has a higher score than one with label 0. */

import { standardError } from './stats.js';

export interface Ordering {
  /** the area under the ROC curve: 0.5 for chance, 1 for a perfect order, ties half; NaN where a label is missing */
  auroc: number;
  /** for each case the part of the other label's cases that it is on the right side of */
  placements: Float64Array;
}

/** The AUROC with DeLong's placements (DeLong, DeLong and Clarke-Pearson 1988), of which differences have a standard error. */
export function ordering(scores: ArrayLike<number>, labels: ArrayLike<number>): Ordering {
  const order = Array.from({ length: scores.length }, (_, i) => i).sort((i, j) =>
    scores[i]! === scores[j]! ? 0 : scores[i]! < scores[j]! ? -1 : 1,
  );
  const positives = order.filter((i) => labels[i]! === 1).length;
  const negatives = order.length - positives;
  const placements = new Float64Array(order.length);
  let [below1, below0] = [0, 0];
  for (let start = 0, end = 1; start < order.length; start = end, end++) {
    while (end < order.length && scores[order[end]!] === scores[order[start]!]) end++;
    const run = order.slice(start, end);
    const ones = run.filter((i) => labels[i]! === 1).length;
    const zeros = run.length - ones;
    for (const i of run) {
      placements[i] = labels[i]! === 1 ? (below0 + zeros / 2) / negatives : 1 - (below1 + ones / 2) / positives;
    }
    below1 += ones;
    below0 += zeros;
  }
  const of1 = order.filter((i) => labels[i]! === 1);
  return { auroc: of1.reduce((sum, i) => sum + placements[i]!, 0) / positives, placements };
}

/** By how much `a` orders the same cases better than `b`, with the standard error of the difference. */
export function orderingLead(a: Ordering, b: Ordering, labels: ArrayLike<number>): { lead: number; stderr: number } {
  const differences = (label: number) =>
    [...a.placements.keys()].filter((i) => labels[i]! === label).map((i) => a.placements[i]! - b.placements[i]!);
  return {
    lead: a.auroc - b.auroc,
    stderr: Math.hypot(standardError(differences(1)), standardError(differences(0))),
  };
}
