/** What a completion is worth after its prompt, whoever computed it: our float32 forward pass, or the engine that serves. */

import { checkFinite } from '../core/vector.js';
import type { TrainingExample } from './batches.js';

export interface CompletionScore {
  /** sum over the completion's tokens of log p(token | what stands before it), in nats */
  logprob: number;
  /** completion tokens */
  tokens: number;
  /** whether greedy decoding would have produced exactly this completion */
  isGreedy: boolean;
  /** the likeliest token at each of the completion's places */
  likeliest: number[];
}

/**
 * Scores sequences of tokens: one score each, in their order.
 *
 * @param owners index of the example that each sequence is of
 */
export type SequenceScorer = (
  sequences: readonly TrainingExample[],
  owners: readonly number[],
) => Promise<CompletionScore[]>;

/** Who computes scores, and the words for it wherever a score is shown. */
export const SCORED_THROUGH = { forward: 'computed in float32', engine: 'served' } as const;
export type ScoredThrough = keyof typeof SCORED_THROUGH;

/**
 * Mean negative log-likelihood per completion token, in nats.
 *
 * @throws CrayonError `numbers-diverged` where a log-probability is NaN or infinite
 */
export function meanLoss(scores: ReadonlyArray<Pick<CompletionScore, 'logprob' | 'tokens'>>): number {
  const tokens = scores.reduce((n, s) => n + s.tokens, 0);
  checkFinite(
    Float64Array.from(scores, ({ logprob }) => logprob),
    'a completion’s log-probability',
  );
  return -scores.reduce((sum, s) => sum + s.logprob, 0) / tokens;
}

/**
 * What every sequence loses through every one of M mixtures, whoever scores.
 *
 * @param score takes the place of a mixture for the example that a sequence is of
 * @returns (n, M) nats per completion token, row-major
 */
export async function lossesOfEach(
  score: SequenceScorer,
  sequences: readonly TrainingExample[],
  mixtures: number,
): Promise<Float64Array> {
  const places = Array.from({ length: mixtures }, (_, m) => m);
  const scores = await score(
    sequences.flatMap((one) => places.map(() => one)),
    sequences.flatMap(() => places),
  );
  return Float64Array.from(scores, (one) => meanLoss([one]));
}
