/** The router's vocabulary. Mode names are Firebase AI Logic's (InferenceMode), sources its inferenceSource. */

import type { ErrorCode } from '../core/errors.js';
import type { Knots } from '../core/isotonic.js';
import type { CorrectnessWeights } from './signals/correctness.js';
import type { SignalName, SignalValues, Thresholds } from './signals/index.js';
import type { SignalConfig } from './signals/signal.js';

export const MODES = ['prefer_on_device', 'only_on_device', 'prefer_in_cloud', 'only_in_cloud'] as const;
export type Mode = (typeof MODES)[number];

export type Source = 'on_device' | 'in_cloud';

/** Why a source answers. */
export type Reason =
  | 'mode' // names it
  | 'context' // prompt and answer do not fit the device's
  | 'load' // the device's queue is full
  | 'memory' // the device has less to give than the configuration wants kept free
  | SignalName // sent the query to the server
  | 'accepted' // every signal that is switched on let the device answer
  | 'server-failed' // the server was wanted, and the mode lets the device stand in; so with the next two
  | 'budget'
  | 'circuit-open'
  | 'device-failed'; // the device was wanted, and the mode lets the server stand in

export interface RoutingConfig extends SignalConfig {
  mode: Mode;
  thresholds: Thresholds;
  /** of the combined signal; null or absent where there is none */
  correctness?: CorrectnessWeights | null;
  correctnessMap?: Knots | null;
  /** send to the server when the device's queue is full, where the mode allows */
  load: boolean;
  /** with `load`: send to the server while the machine can give less memory than this, in bytes; 0 or absent for any */
  minFreeBytes?: number;
}

/** Every signal that was computed for one query; absent ones were not needed. */
export interface Signals extends SignalValues {
  /** null where the mode names the server, because then the device does not read the prompt */
  promptTokens: number | null;
  maxTokens: number;
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
