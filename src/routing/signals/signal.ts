/**
 * What a routing signal is: one number about a query, and everything that the rest of crayon asks of it. A signal is an
 * object of this shape in a file of its own and a line in index.ts; the rule, the YAML keys, the explanations, the dry run,
 * the `crayon` field of answers and calibration follow from it.
 */

import type * as z from 'zod';
import type { Knots } from '../../core/isotonic.js';
import type { Floats } from '../../core/vector.js';

/** When a signal is known, in the order in which its questions cost. */
export const STAGES = ['before-work', 'after-prompt', 'after-tokens'] as const;
export type Stage = (typeof STAGES)[number];

/** How token probabilities become one confidence; larger is surer. */
export const CONFIDENCE_MEASURES = ['mean-logprob', 'min-probability', 'margin', 'negative-entropy'] as const;
export type ConfidenceMeasure = (typeof CONFIDENCE_MEASURES)[number];

/** The part of the routing configuration that a signal may look at. */
export interface SignalConfig {
  confidence: {
    measure: ConfidenceMeasure;
    /** tokens looked at, and held back when streaming; null is the whole answer */
    tokens: number | null;
  };
  /** rates of the clusters and, last, of strays (N + 1), 0 to 1; null or absent where none have been counted */
  success?: readonly number[] | null;
  /** likewise of the server's answers */
  serverSuccess?: readonly number[] | null;
  /** added to the log-odds of those, for a user of whom their calibration has seen little; 0 or absent: none */
  serverShift?: number;
  /** of the combined signal; null or absent where there is none */
  correctness?: (Readonly<Record<string, number | undefined>> & { intercept: number }) | null;
  /** what the combined signal's own probability is read off; null or absent: it stands as it is */
  correctnessMap?: Knots | null;
  /** added to the log-odds of that, for a user of whom its calibration has seen little; 0 or absent: none */
  correctnessShift?: number;
}

export interface ScopeScore {
  /** cosine of the query with q_c, -1 to 1; NaN where the embedding has no number */
  similarity: number;
  /** percentile among the user's examples, 0 to 100; NaN likewise */
  percentile: number;
}

/** What is known of a query; each field is asked from its signals' stage on, and not before. */
export interface Evidence {
  config: SignalConfig;
  maxTokens: number;
  /** before-work: tokens of the prompt as the device reads it */
  promptTokens: () => number;
  /** before-work: null where there is no profile to compare with */
  scope: () => ScopeScore | null;
  /** before-work: the prompt's gate over the clusters and for strays (N + 1); null or absent where there are none */
  clusters?: (() => Floats | null) | undefined;
  /** after-prompt: mean negative log-likelihood of the prompt, nats a token */
  promptNll: number;
  /** after-tokens: of the tokens that the configuration looks at, or of the whole answer where it has fewer */
  confidence: number;
  /** the signals read so far */
  signals: Readonly<Record<string, number | null | undefined>>;
}

export interface Signal<Name extends string = string> {
  /** key in the YAML, reason, field of the answer and of a record */
  readonly name: Name;
  /** of the YAML key, for people and for editors */
  readonly description: string;
  readonly stage: Stage;
  /** the side of its cut on which the server answers */
  readonly toServer: 'below' | 'above';
  /** for `routing.thresholds.<name>` */
  readonly threshold: z.ZodType<number>;
  /** the value, first under the signal's name, and what else is told beside it; null where this query has none */
  read(evidence: Evidence): Readonly<Record<string, number>> | null;
  /** what else `read` tells, with its unit */
  readonly also?: Readonly<Record<string, string>>;
  /**
   * The signals that this one is made of: they are computed although they may have no cut of their own, and where a query
   * lacks one of them it lacks this one. Null where the configuration says nothing to make it of.
   */
  madeOf?(config: SignalConfig): readonly string[] | null;

  /** in sentences */
  readonly title: string;
  /** in a table */
  unit(config: SignalConfig): string;
  /** why the server answers where the cut is crossed, for `<doubt> (<told> is below the cut 3)` */
  readonly doubt: string;
  /** the value in a sentence; by default `<title> <value>` */
  told?(value: string): string;
  /** in place of all that: the whole reason, either way */
  explained?(score: number, relation: string, cut: string, signals: Evidence['signals']): string;

  /** which queries a cut sends, for a table */
  meaning(cut: number): string;
  /** cuts that send nothing and everything; absent where any number may be a value, the first also where the value needs weights or rates */
  readonly sendsNothing?: number;
  readonly sendsAll?: number;
  /** calibration sends no query whose value is not beyond this one: nothing is expected of it; absent where no value says so */
  readonly neutral?: number;
  /** what the probability of a right answer may be made of: functions of the value */
  readonly features?: Readonly<Record<string, (value: number, measure: ConfidenceMeasure) => number>>;
}

/** No probability is higher, so that a cut of 1 sends everything to the server. */
export const MOST_CERTAIN = 1 - 1e-9;

/** Four significant digits are enough for a reader; the decision holds them all. */
export function shown(x: number | null | undefined): string {
  if (x === null || x === undefined) return 'unknown';
  return Number.isFinite(x) ? String(Number(x.toPrecision(4))) : String(x);
}
