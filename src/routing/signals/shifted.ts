/** Probabilities of a user whom a rule has not seen: their log-odds shifted by what a few answers say (calibrate/shift.ts). */

import { logisticProbability } from '../../core/logistic.js';

/** No probability counts for more than this one's log-odds where it is shifted: a rule is never so sure of a stranger. */
const LEAST = 1e-3;

/** The log-odds that a shift is added to. */
export function shiftableOdds(probability: number): number {
  const p = Math.min(Math.max(probability, LEAST), 1 - LEAST);
  return Math.log(p / (1 - p));
}

/** A probability of a right answer with its log-odds shifted. Keeps a NaN, and 0, which is an answer without a token. */
export function shifted(probability: number, shift: number): number {
  if (shift === 0 || probability === 0) return probability;
  return logisticProbability({ intercept: shift, weights: [1] }, [shiftableOdds(probability)]);
}
