/**
 * A rule for a user of whom its calibration has seen nothing, by a few labelled answers of that user: users differ by more than
 * their queries' signals say, and nothing but answers tells by how much. In the log-odds of a right answer a user is a shift u,
 *
 *     P(right | x, user) = sigmoid( logit P(right | x) + u ),   u ~ N(0, VARIANCE),
 *
 * of which the most probable value given the answers is taken: with none it is 0, with few it is small. What that is worth
 * is in docs/experiments.md (benchmarks/unseen-users.ts).
 */

import assert from 'node:assert/strict';
import { shiftableOdds } from '../signals/shifted.js';

/** Of users' shifts, in squared log-odds: 4 did better than 1 on the users of configs/bench/routing.yaml. */
const VARIANCE = 4;
const STEPS = 100;

/**
 * The most probable shift, in log-odds.
 *
 * @param probabilities (n) of a right answer, by the rule
 * @param labels (n) 1 right, 0 wrong; scores between are understood
 */
export function shiftOf(probabilities: readonly number[], labels: readonly number[], variance = VARIANCE): number {
  assert.equal(labels.length, probabilities.length, 'one label for each probability');
  const odds = probabilities.map(shiftableOdds);
  let u = 0;
  // Newton's method on a concave function, in steps that cannot overshoot.
  for (let step = 0; step < STEPS; step++) {
    let [slope, bend] = [-u / variance, 1 / variance];
    for (const [i, x] of odds.entries()) {
      const p = 1 / (1 + Math.exp(-(x + u)));
      slope += labels[i]! - p;
      bend += p * (1 - p);
    }
    const change = Math.min(Math.max(slope / bend, -1), 1);
    u += change;
    if (Math.abs(change) < 1e-9) break;
  }
  return u;
}
