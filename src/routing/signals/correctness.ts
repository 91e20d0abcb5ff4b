/**
 * The combined signal: the calibrated probability that the device's answer is right, a logistic rule of the other signals
 * whose few weights stand in the configuration, for a person to read.
 */

import { logisticProbability } from '../../core/logistic.js';
import {
  CORRECTNESS_FEATURES,
  type ConfidenceMeasure,
  type CorrectnessFeature,
  type CorrectnessWeights,
} from '../types.js';

/** The signals that a probability is made of; what has no weight is not looked at. */
export interface CorrectnessSignals {
  /** percentile, 0 to 100 */
  scope: number;
  complexity: number;
  confidence: number;
}

/** The signal that each feature is made of. */
export const FEATURE_SIGNAL = {
  confidence: 'confidence',
  probability: 'confidence',
  scope: 'scope',
  logScope: 'scope',
  complexity: 'complexity',
} as const satisfies Record<CorrectnessFeature, keyof CorrectnessSignals>;

/** Nothing is certain: with a cut of 1 everything goes to the server. */
const MOST = 1 - 1e-9;

/** The features whose weight is not 0. */
export function weighed(weights: CorrectnessWeights): CorrectnessFeature[] {
  return CORRECTNESS_FEATURES.filter((name) => (weights[name] ?? 0) !== 0);
}

/** Whether the probability depends on this signal. */
export function weighs(weights: CorrectnessWeights, signal: keyof CorrectnessSignals): boolean {
  return weighed(weights).some((name) => FEATURE_SIGNAL[name] === signal);
}

export function featureOf(name: CorrectnessFeature, measure: ConfidenceMeasure, signals: CorrectnessSignals): number {
  const { scope, complexity, confidence } = signals;
  switch (name) {
    case 'confidence':
      return confidence;
    case 'probability':
      return measure === 'mean-logprob' || measure === 'negative-entropy' ? Math.exp(confidence) : confidence;
    case 'scope':
      return scope / 100;
    case 'logScope':
      return Math.log1p(scope);
    case 'complexity':
      return complexity;
  }
}

/**
 * P(the device's answer is right), 0 to 1. NaN where a signal that has a weight is not a number. An answer without a token
 * (confidence -Infinity) is none: 0, whatever the weights.
 */
export function correctnessOf(
  weights: CorrectnessWeights,
  measure: ConfidenceMeasure,
  signals: CorrectnessSignals,
): number {
  if (signals.confidence === Number.NEGATIVE_INFINITY) return 0;
  const names = weighed(weights);
  const model = { intercept: weights.intercept, weights: names.map((name) => weights[name]!) };
  const probability = logisticProbability(
    model,
    names.map((name) => featureOf(name, measure, signals)),
  );
  return Math.min(probability, MOST); // keeps a NaN
}
