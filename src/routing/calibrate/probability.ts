/**
 * From the logistic score to a probability that may be believed: as it is, or read off an isotonic map of it, whichever has the
 * smaller log loss on held-out records by more than one standard error of the paired differences. And which measure of the
 * confidence is worth having.
 */

import { ordering, orderingLead } from '../../core/auroc.js';
import { fitIsotonic, type Knots, mapped } from '../../core/isotonic.js';
import { type BootstrapOptions, mean, standardError } from '../../core/stats.js';
import { featureOf } from '../signals/correctness.js';
import type { ConfidenceMeasure } from '../signals/signal.js';
import { type CalibrationData, signalOf } from './data.js';
import { type Combination, heldOutFolds, withProbabilities } from './fit.js';
import { logLossOf, type Reliability, reliability } from './reliability.js';

export const PROBABILITY_MAPS = ['logistic', 'isotonic'] as const;
export type ProbabilityMap = (typeof PROBABILITY_MAPS)[number];

export interface Probabilities extends Pick<Combination, 'features'> {
  map: ProbabilityMap;
  /** log loss that the isotonic map saves, nats an answer, and its standard error */
  saved: number;
  savedStderr: number;
  /** held out; `confidence` is that of the answer, taken for a probability as it is, and null where not every record has one */
  reliability: Record<ProbabilityMap, Reliability> & { confidence: Reliability | null };
}

/** Both maps of a combined signal's probability, on records that they were not fitted on. */
export function heldOutProbabilities(
  data: CalibrationData,
  combination: Combination,
  folds: readonly number[][],
): Record<ProbabilityMap, Float64Array> {
  const found = { logistic: new Float64Array(data.n), isotonic: new Float64Array(data.n) };
  for (const { held, others, data: fold } of heldOutFolds(data, combination, folds)) {
    const knots = fitMap(fold, others);
    for (const i of held) {
      found.logistic[i] = -fold.suspicion.correctness[i]!;
      found.isotonic[i] = mappedCorrectness(found.logistic[i]!, knots);
    }
  }
  return found;
}

/** The isotonic map of fitted probabilities to these records' labels. An answer without a token is none: it has 0 and no say. */
export function fitMap(data: CalibrationData, indices: readonly number[]): Knots | null {
  const answered = indices.filter((i) => data.suspicion.correctness[i]! < 0);
  if (answered.length === 0) return null;
  return fitIsotonic(
    answered.map((i) => -data.suspicion.correctness[i]!),
    answered.map((i) => data.edge[i]!),
  );
}

function mappedCorrectness(probability: number, knots: Knots | null): number {
  return knots === null || probability === 0 ? probability : mapped(knots, probability);
}

/** The data with the probability of a right answer read off a map. */
export function withMap(data: CalibrationData, knots: Knots): CalibrationData {
  return withProbabilities(
    data,
    data.suspicion.correctness.map((suspicion) => mappedCorrectness(-suspicion, knots)),
  );
}

/** Which map a combined signal is read off, and how far each may be believed. */
export function probabilitiesOf(
  data: CalibrationData,
  combination: Combination,
  folds: readonly number[][],
  options: BootstrapOptions,
): Probabilities {
  const held = heldOutProbabilities(data, combination, folds);
  const savings = data.all.map(
    (i) => logLossOf(held.logistic[i]!, data.edge[i]!) - logLossOf(held.isotonic[i]!, data.edge[i]!),
  );
  const [saved, savedStderr] = [mean(savings), standardError(savings)];
  const judged = (probabilities: Float64Array) => reliability(probabilities, data.edge, options);
  return {
    features: combination.features,
    map: saved > savedStderr ? 'isotonic' : 'logistic',
    saved,
    savedStderr,
    reliability: {
      confidence: data.available.includes('confidence') ? judged(rawConfidences(data)) : null,
      logistic: judged(held.logistic),
      isotonic: judged(held.isotonic),
    },
  };
}

/** The combined signal whose probability loses least, held out, of those that could be made. */
export function likeliest(
  data: CalibrationData,
  combined: readonly Combination[],
  folds: readonly number[][],
): Combination | undefined {
  const losses = combined.map((combination) => {
    const held = heldOutProbabilities(data, combination, folds);
    return Math.min(
      ...PROBABILITY_MAPS.map((map) => mean(data.all.map((i) => logLossOf(held[map][i]!, data.edge[i]!)))),
    );
  });
  return combined[losses.indexOf(Math.min(...losses))];
}

function rawConfidences(data: CalibrationData): Float64Array {
  return Float64Array.from(data.all, (i) =>
    Math.min(1, Math.max(0, featureOf('probability', data.measure, { confidence: signalOf(data, 'confidence', i) }))),
  );
}

/**
 * The measure of the confidence that orders answers best by whether they are right: another one than the first, the
 * configured one, only by more than two standard errors of the lead, because margins and entropies cost whole distributions.
 */
export function chooseMeasure(datas: readonly CalibrationData[]): {
  measure: ConfidenceMeasure;
  aurocs: Partial<Record<ConfidenceMeasure, number>>;
} {
  const { edge } = datas[0]!;
  const orderings = datas.map((data) =>
    ordering(
      data.suspicion.confidence.map((x) => -x),
      edge,
    ),
  );
  const ahead = orderings.map((one) => orderingLead(one, orderings[0]!, edge));
  let best = 0;
  for (const [k, { lead, stderr }] of ahead.entries()) {
    if (lead > 2 * stderr && lead > ahead[best]!.lead) best = k;
  }
  return {
    measure: datas[best]!.measure,
    aurocs: Object.fromEntries(datas.map(({ measure }, k) => [measure, orderings[k]!.auroc])),
  };
}
