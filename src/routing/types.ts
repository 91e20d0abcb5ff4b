/** The router's vocabulary. Mode names are Firebase AI Logic's (InferenceMode), sources its inferenceSource. */

import type { ErrorCode } from '../core/errors.js';

export const MODES = ['prefer_on_device', 'only_on_device', 'prefer_in_cloud', 'only_in_cloud'] as const;
export type Mode = (typeof MODES)[number];

export type Source = 'on_device' | 'in_cloud';

/**
 * Why a source answers.
 *
 * - `mode`: the mode names it
 * - `context`: prompt and answer do not fit the device's context
 * - `load`: the device's queue is full
 * - `memory`: the device has less memory to give than the configuration wants kept free
 * - `scope`, `complexity`, `confidence`, `correctness`: the signal that sent the query to the server
 * - `accepted`: every signal that is switched on let the device answer
 * - `server-failed`, `budget`, `circuit-open`: the server was wanted, and the mode lets the device stand in
 * - `device-failed`: the device was wanted, and the mode lets the server stand in
 */
export type Reason =
  | 'mode'
  | 'context'
  | 'load'
  | 'memory'
  | 'scope'
  | 'complexity'
  | 'confidence'
  | 'correctness'
  | 'accepted'
  | 'server-failed'
  | 'budget'
  | 'circuit-open'
  | 'device-failed';

/** How token probabilities become one confidence, larger is surer (method.md section 4). */
export const CONFIDENCE_MEASURES = ['mean-logprob', 'min-probability', 'margin', 'negative-entropy'] as const;
export type ConfidenceMeasure = (typeof CONFIDENCE_MEASURES)[number];

/** The routing cuts. Null switches a signal off. */
export interface Thresholds {
  /** percentile of the user's own examples, 0 to 100: below it, the server */
  scope: number | null;
  /** mean negative log-likelihood of the prompt, nats a token: above it, the server */
  complexity: number | null;
  /** in the unit of the measure: below it, the server */
  confidence: number | null;
  /** probability that the device's answer is right, 0 to 1: below it, the server. Needs `RoutingConfig.correctness`. */
  correctness?: number | null;
}

/**
 * What the probability of a right answer may be made of: `confidence` in the unit of the measure, `probability` the same as a
 * number from 0 to 1 (exp of it where it is a logarithm), `scope` the percentile / 100, `logScope` ln(1 + percentile),
 * `complexity` in nats a token.
 */
export const CORRECTNESS_FEATURES = ['confidence', 'probability', 'scope', 'logScope', 'complexity'] as const;
export type CorrectnessFeature = (typeof CORRECTNESS_FEATURES)[number];

/** P(right) = sigmoid(intercept + sum of weight * feature); absent weights are 0. */
export interface CorrectnessWeights extends Partial<Record<CorrectnessFeature, number>> {
  intercept: number;
}

export interface RoutingConfig {
  mode: Mode;
  thresholds: Thresholds;
  confidence: {
    measure: ConfidenceMeasure;
    /** tokens looked at, and held back when streaming; null is the whole answer */
    tokens: number | null;
  };
  /** of the combined signal; null or absent where there is none */
  correctness?: CorrectnessWeights | null;
  /** send to the server when the device's queue is full, where the mode allows */
  load: boolean;
  /** with `load`: send to the server while the machine can give less memory than this, in bytes; 0 or absent for any */
  minFreeBytes?: number;
}

/** Every signal that was computed for one query; absent ones were not needed. */
export interface Signals {
  /** null where the mode names the server, because then the device does not read the prompt */
  promptTokens: number | null;
  maxTokens: number;
  /** percentile of the user's examples */
  scope?: number;
  /** cosine of the prompt with the user's mean example */
  similarity?: number;
  complexity?: number;
  confidence?: number;
  /** probability that the device's answer is right */
  correctness?: number;
}

export interface Decision {
  source: Source;
  reason: Reason;
  /** the deciding signal and its cut, for the answer's headers; null where none decided */
  score: number | null;
  threshold: number | null;
  signals: Signals;
  /** the source that was wanted and failed; null when all went as wished */
  fallbackFrom: Source | null;
  /** with `fallbackFrom`: what went wrong there. A CrayonError's code, else `internal`. */
  failure?: { code: ErrorCode | 'internal'; message: string };
}
