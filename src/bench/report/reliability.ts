/** Whether the probabilities that a rule may route by can be believed: before any rule, by the rules, and mapped to what was seen. */

import type { BootstrapOptions } from '../../core/stats.js';
import { type Reliability, reliability } from '../../routing/calibrate/reliability.js';

/** Of a right answer of the device, one for each answer. */
export interface Probabilities {
  /** CSS class of its marks, and its place among rows */
  name: string;
  title: string;
  values: Float64Array | null;
}

export interface ReliabilityRow extends Reliability {
  name: string;
  title: string;
}

/**
 * The mean log-probability of an answer's tokens as a probability: what there is without labels. None where an answer has no
 * confidence, or one that is no log-probability.
 */
export function rawProbabilities(confidences: ReadonlyArray<number | undefined>): Float64Array | null {
  return confidences.every((x) => x !== undefined && x <= 0)
    ? Float64Array.from(confidences, (x) => Math.exp(x!))
    : null;
}

/** @param labels (n) 1 right, 0 wrong */
export function reliabilityRows(
  all: readonly Probabilities[],
  labels: readonly number[],
  options: BootstrapOptions,
): ReliabilityRow[] {
  return all.flatMap(({ values, ...row }) =>
    values === null ? [] : [{ ...row, ...reliability(values, labels, options) }],
  );
}
