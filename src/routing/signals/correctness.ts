/**
 * The combined signal: the calibrated probability that the device's answer is right, a logistic rule of the other signals
 * whose few weights stand in the configuration, for a person to read.
 */

import * as z from 'zod';
import { type Knots, mapped } from '../../core/isotonic.js';
import { logisticProbability } from '../../core/logistic.js';
import { complexity } from './complexity.js';
import { confidence } from './confidence.js';
import { scope } from './scope.js';
import { shifted } from './shifted.js';
import { type ConfidenceMeasure, MOST_CERTAIN, type Signal, type SignalConfig, shown } from './signal.js';
import { success } from './success.js';

/** What it may be made of, in the order of its terms and of its explanation. */
const INGREDIENTS = [confidence, scope, success, complexity] as const;
type Ingredient = (typeof INGREDIENTS)[number]['name'];

type Of<Features> = Features extends unknown ? keyof Features : never;
/**
 * `confidence` in the unit of the measure, `probability` the same as a number from 0 to 1 (exp of it where it is a
 * logarithm), `scope` the percentile / 100, `logScope` ln(1 + percentile), `success` the
 * clusters' rate, `complexity` in nats a token.
 */
export type CorrectnessFeature = Of<(typeof INGREDIENTS)[number]['features']>;

const FEATURES = INGREDIENTS.flatMap(({ name: signal, features }) =>
  Object.entries<(value: number, measure: ConfidenceMeasure) => number>(features).map(([name, of]) => ({
    name: name as CorrectnessFeature,
    signal,
    of,
  })),
);
export const CORRECTNESS_FEATURES: readonly CorrectnessFeature[] = FEATURES.map(({ name }) => name);

/** P(right) = sigmoid(intercept + sum of weight * feature); absent weights are 0. */
export type CorrectnessWeights = { intercept: number } & { [Name in CorrectnessFeature]?: number };

/**
 * The probabilities that calibration tries. Each is of two signals or more: of one alone, it would order the queries as that signal
 * does. `probability` stands for the confidence: an answer at a mean log-probability of -8 is hardly likelier to be wrong than
 * one at -4. Never both of them: bent twice, the curve can turn back, and trust an answer for being very unsure. In a
 * mixture where one task has low confidences throughout that fits well, and says nothing of another mixture.
 */
export const FEATURE_SETS: readonly CorrectnessFeature[][] = [
  ['probability', 'scope'],
  ['probability', 'logScope'],
  ['probability', 'complexity'],
  ['probability', 'scope', 'complexity'],
  ['probability', 'logScope', 'complexity'],
  ['probability', 'success'],
  ['probability', 'logScope', 'success'],
];

/** The signals; what has no weight is not looked at. */
type CorrectnessSignals = Readonly<Partial<Record<Ingredient, number | null>>>;

const PROBABILITY = 'a probability from 0 to 1';

/** The features whose weight is not 0. */
function featuresUsed(weights: NonNullable<SignalConfig['correctness']>) {
  return FEATURES.filter(({ name }) => (weights[name] ?? 0) !== 0);
}

/** A feature with the signal that it is made of. */
export function featureNamed(name: CorrectnessFeature) {
  return FEATURES.find((feature) => feature.name === name)!;
}

/** A feature of one query; NaN where the query lacks the signal. */
export function featureOf(name: CorrectnessFeature, measure: ConfidenceMeasure, signals: CorrectnessSignals): number {
  const { signal, of } = featureNamed(name);
  return of(signals[signal] ?? Number.NaN, measure);
}

/**
 * P(the device's answer is right), 0 to 1, read off the map where there is one, and shifted. NaN where a signal that has a weight is not a number. An answer without a token
 * (confidence -Infinity) is none: 0, whatever the weights.
 */
export function correctnessOf(
  weights: NonNullable<SignalConfig['correctness']>,
  measure: ConfidenceMeasure,
  signals: CorrectnessSignals,
  map: Knots | null = null,
  shift = 0,
): number {
  if (signals.confidence === Number.NEGATIVE_INFINITY) return 0;
  const used = featuresUsed(weights);
  const model = { intercept: weights.intercept, weights: used.map(({ name }) => weights[name]!) };
  const values = used.map(({ signal, of }) => of(signals[signal] ?? Number.NaN, measure));
  const probability = logisticProbability(model, values);
  return Math.min(shifted(map === null ? probability : mapped(map, probability), shift), MOST_CERTAIN); // keeps a NaN
}

export const correctness = {
  name: 'correctness',
  description:
    "Probability that the device's answer is right, 0 to 1: below it, the server. Needs routing.correctness.",
  stage: 'after-tokens',
  toServer: 'below',
  threshold: z.number(PROBABILITY).min(0, PROBABILITY).max(1, PROBABILITY),
  madeOf: ({ correctness: weights }) => {
    if (!weights) return null;
    // Whatever the weights, an answer without a token is none.
    return [...new Set([confidence.name, ...featuresUsed(weights).map(({ signal }) => signal)])];
  },
  read: ({ config: { correctness: weights, confidence, correctnessMap, correctnessShift }, signals }) => ({
    correctness: correctnessOf(weights!, confidence.measure, signals, correctnessMap, correctnessShift),
  }),
  title: 'correctness',
  unit: ({ correctnessMap, correctnessShift }) =>
    `probability of a right answer${correctnessMap ? ', read off routing.correctness_map' : ''}` +
    `${correctnessShift ? `, shifted by ${correctnessShift}` : ''}`,
  doubt: "the device's answer is likely to be wrong",
  explained: (score, relation, cut, signals) => {
    const named = INGREDIENTS.flatMap(({ name, title }) =>
      signals[name] === undefined ? [] : [`${title} ${shown(signals[name])}`],
    );
    return `the device's answer is right with probability ${chance(score)}, ${relation} the cut ${cut} (${named.join(', ')})`;
  },
  meaning: (cut) => `the device's answer is right with a probability below ${cut}`,
  sendsAll: 1,
} as const satisfies Signal;

/** Nothing is certain, so nothing is rounded to 0 or 1. */
function chance(score: number): string {
  if (score >= 0.001 && score <= 0.999) return shown(score);
  return score < 0.001 ? 'under 0.001' : 'over 0.999';
}
