/**
 * Routing scores from a calibrated rule: the probability, by logistic regression, that the device's answer is right.
 *
 *     P(right) = sigmoid(intercept + w . (mean log-probability, its exponential, scope percentile / 100))
 *
 * The exponential lets the rule bend: an answer of middling confidence may be worse than one of low confidence. Scores are
 * cross-fitted: no example is scored by a rule that has seen its label, nor the label of another user's answer to its prompt.
 */

import assert from 'node:assert/strict';
import { fitLogistic, logisticProbability } from '../../core/logistic.js';
import { createRandom } from '../../core/random.js';
import { featureOf } from '../../routing/signals/correctness.js';
import type { AnswerRecord } from '../types.js';

/** Parts that the examples are cut into; each is scored by a rule that was fitted on the others. */
export const FOLDS = 10;

/** The device's answers of all users one after another, and whose each is. */
export interface UserAnswers {
  answers: readonly AnswerRecord[];
  /** index of the user, one for each answer */
  users: readonly number[];
}

/** What a rule may see. `user` has an intercept for each user and no signal: what knowing the user alone is worth. */
export type RuleKind = 'all-users' | 'per-user' | 'user' | 'other-users';

/**
 * Held-out scores, larger where the device should answer.
 *
 * - `all-users`: one rule; `per-user`: the same with an intercept for each user.
 * - `user`: only those intercepts. `other-users`: one rule, each user scored by the one fitted on all the others.
 *
 * @param seed of the folds
 * @returns null where an answer has no confidence, the prompts are fewer than the folds, or, but for `all-users`, there is one
 *   user only
 */
export function heldOutScores(of: UserAnswers, kind: RuleKind, seed: number): Float64Array | null {
  const { answers, users } = of;
  const count = new Set(users).size;
  if (kind !== 'all-users' && count < 2) return null;
  const signals = signalFeatures(answers);
  const folds = promptFolds(of, seed);
  if (signals === null || folds === null) return null;
  const features = answers.map((_, i) => [
    ...(kind === 'user' ? [] : signals[i]!),
    ...(kind === 'user' || kind === 'per-user' ? oneHot(users[i]!, count) : []),
  ]);
  const labels = answers.map((answer) => answer.correct);
  return crossFit(features, labels, kind === 'other-users' ? users : folds);
}

/** Mean log-probability, its exponential, and the scope as a part of 1 where every answer has one; null without confidence. */
function signalFeatures(answers: readonly AnswerRecord[]): number[][] | null {
  if (answers.some(({ confidence }) => confidence === undefined)) return null;
  const hasScope = answers.every(({ scope }) => scope !== undefined);
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
export function promptFolds({ answers, users }: UserAnswers, seed: number): number[] | null {
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

/** Scores each fold by the rule that was fitted on the other folds. */
function crossFit(features: number[][], labels: number[], folds: readonly number[]): Float64Array {
  const n = features.length;
  assert(labels.length === n && folds.length === n, 'a label and a fold for each example');
  const scores = new Float64Array(n);
  for (const fold of new Set(folds)) {
    const isOther = (_: unknown, i: number) => folds[i] !== fold;
    const rule = fitLogistic(features.filter(isOther), labels.filter(isOther));
    for (let i = 0; i < n; i++) if (folds[i] === fold) scores[i] = logisticProbability(rule, features[i]!);
  }
  return scores;
}

function oneHot(user: number, count: number): number[] {
  return Array.from({ length: count }, (_, j) => (j === user ? 1 : 0));
}
