/**
 * The device's probability of a right answer by rules that are fitted on a run's own answers, and the server's by its clusters.
 *
 *     P(right) = sigmoid(intercept + w . (mean log-probability, its exponential, scope percentile / 100))
 *
 * The exponential lets the rule bend: an answer of middling confidence may be worse than one of low confidence. Scores are
 * cross-fitted: no example is scored by a rule that has seen its label, nor the label of another user's answer to its prompt.
 */

import { fitIsotonic, mapped } from '../../core/isotonic.js';
import { fitLogistic, logisticProbability } from '../../core/logistic.js';
import { createRandom } from '../../core/random.js';
import { oneHot } from '../../core/vector.js';
import { clusterRates } from '../../routing/calibrate/cluster-rates.js';
import { featureOf } from '../../routing/signals/correctness.js';
import { expectedRate } from '../../routing/signals/success.js';
import type { AnswerRecord } from '../types.js';
import type { Signals } from './routing-scores.js';

/** Parts that the examples are cut into; each is scored by a rule that was fitted on the others. */
export const FOLDS = 10;

/** The device's answers of all users one after another, and whose each is. */
export interface UserAnswers {
  answers: readonly AnswerRecord[];
  /** index of the user, one for each answer */
  users: readonly number[];
  /** whether the server is right about the same prompts, for rules that weigh it */
  server?: readonly number[];
  /** What is scored in place of the answers, one for each: the signals of its prompt, changed. Rules are fitted on the answers. */
  asked?: readonly Signals[];
}

/** What a rule may see. `user` has an intercept for each user and no signal: what knowing the user alone is worth. */
export type RuleKind = 'all-users' | 'per-user' | 'user' | 'other-users';

/**
 * What its probability is made of: the signals, the rates of the pool's clusters alone, or the signals and that rate. `mapped` is that
 * of the signals through an isotonic map, fitted on what the rule says of the answers that it was itself fitted on.
 */
export type RuleParts = 'signals' | 'rates' | 'both' | 'mapped';

/**
 * Held-out scores, larger where the device should answer.
 *
 * - `all-users`: one rule; `per-user`: the same with an intercept for each user.
 * - `user`: only those intercepts. `other-users`: one rule, each user scored by the one fitted on all the others.
 *
 * @param seed of the folds
 * @returns null where an answer has no confidence, or no gate where rates need it, the prompts are fewer than the folds, or, but
 *   for `all-users`, there is one user only
 */
export function heldOutScores(
  of: UserAnswers,
  kind: RuleKind,
  seed: number,
  parts: RuleParts = 'signals',
): Float64Array | null {
  const { answers, users, asked = answers } = of;
  const count = new Set(users).size;
  if (kind !== 'all-users' && count < 2) return null;
  const hasScope = answers.every(({ scope }) => scope !== undefined);
  const featuresOf = (all: readonly Signals[]) =>
    signalFeatures(all, hasScope)?.map((signals, i) => [
      ...(kind === 'user' ? [] : signals),
      ...(kind === 'user' || kind === 'per-user' ? oneHot(users[i]!, count) : []),
    ]);
  // the rates alone are made of no signal
  const [features, scored] = parts === 'rates' ? [[], []] : [featuresOf(answers), featuresOf(asked)];
  const folds = promptFolds(of, seed);
  if (features === undefined || scored === undefined || folds === null) return null;
  const labels = answers.map((answer) => answer.correct);
  const heldOut = kind === 'other-users' ? users : folds;
  if (parts === 'signals' || parts === 'mapped') {
    return crossFit(heldOut, (others) => {
      const rule = fitLogistic(at(features, others), at(labels, others));
      if (parts === 'signals') return (i) => logisticProbability(rule, scored[i]!);
      const seen = others.map((i) => logisticProbability(rule, features[i]!));
      const map = fitIsotonic(seen, at(labels, others));
      return (i) => mapped(map, logisticProbability(rule, scored[i]!));
    });
  }
  const [gates, askedGates] = [gatesOf(answers), gatesOf(asked)];
  if (gates === null || askedGates === null) return null;
  return crossFit(heldOut, (others) => {
    const { rates } = clusterRates(at(gates, others), at(labels, others));
    if (parts === 'rates') return (i) => expectedRate(rates, askedGates[i]!);
    const withRate = (rows: readonly number[][], ofRows: readonly number[][]) =>
      rows.map((row, i) => [...row, expectedRate(rates, ofRows[i]!)]);
    return logisticOf(withRate(features, gates), labels, others, withRate(scored, askedGates));
  });
}

/** Likewise the rates at which the server is right in the clusters of each prompt. */
export function heldOutServerRates(of: UserAnswers, kind: RuleKind, seed: number): Float64Array | null {
  const { answers, users, asked = answers, server } = of;
  const [gates, askedGates, folds] = [gatesOf(answers), gatesOf(asked), promptFolds(of, seed)];
  if (server === undefined || gates === null || askedGates === null || folds === null) return null;
  return crossFit(kind === 'other-users' ? users : folds, (others) => {
    const { rates } = clusterRates(at(gates, others), at(server, others));
    return (i) => expectedRate(rates, askedGates[i]!);
  });
}

/** The gates of all answers, or null where one has none. */
function gatesOf(answers: readonly Signals[]): number[][] | null {
  const gates = answers.flatMap(({ clusters }) => (clusters === undefined ? [] : [clusters]));
  return gates.length < answers.length ? null : gates;
}

/** The probability of each answer that is scored, by a rule that was fitted on the others. */
export function logisticOf(
  features: readonly number[][],
  labels: readonly number[],
  others: readonly number[],
  scored: readonly number[][] = features,
) {
  const rule = fitLogistic(at(features, others), at(labels, others));
  return (i: number) => logisticProbability(rule, scored[i]!);
}

/** Mean log-probability, its exponential, and the scope as a part of 1 where every answer has one; null without confidence. */
export function signalFeatures(answers: readonly Signals[], hasScope: boolean): number[][] | null {
  if (answers.some(({ confidence, scope }) => confidence === undefined || (hasScope && scope === undefined)))
    return null;
  const features = hasScope
    ? (['confidence', 'probability', 'scope'] as const)
    : (['confidence', 'probability'] as const);
  return answers.map((answer) => features.map((name) => featureOf(name, 'mean-logprob', answer)));
}

/**
 * A fold, 0 to FOLDS - 1, for each answer: those to one prompt are in one fold, whoever gave them, and each user's prompts are
 * dealt out in turn, so that every fold has as many of each user as it can.
 *
 * @returns null where there are fewer prompts than folds
 */
export function promptFolds(
  { answers, users }: { answers: ReadonlyArray<Pick<AnswerRecord, 'promptHash'>>; users: readonly number[] },
  seed: number,
): number[] | null {
  const random = createRandom(seed, 'calibration folds');
  const byUser = new Map<number, Set<string>>();
  for (const [i, { promptHash }] of answers.entries()) {
    const prompts = byUser.get(users[i]!) ?? new Set<string>();
    byUser.set(users[i]!, prompts.add(promptHash));
  }
  const fold = new Map<string, number>();
  for (const prompts of byUser.values()) {
    const fresh = [...prompts].filter((prompt) => !fold.has(prompt));
    for (const prompt of random.shuffle(fresh)) fold.set(prompt, fold.size % FOLDS);
  }
  return fold.size < FOLDS ? null : answers.map(({ promptHash }) => fold.get(promptHash)!);
}

const at = <T>(values: readonly T[], others: readonly number[]) => others.map((i) => values[i]!);

/** Scores each fold by the rule that was fitted on the answers of the other folds. */
function crossFit(
  folds: readonly number[],
  scoring: (others: readonly number[]) => (answer: number) => number,
): Float64Array {
  const scores = new Float64Array(folds.length);
  for (const fold of new Set(folds)) {
    const score = scoring([...folds.keys()].filter((i) => folds[i] !== fold));
    for (const [i, of] of folds.entries()) if (of === fold) scores[i] = score(i);
  }
  return scores;
}
