/**
 * Which clusters a router's rates are counted in: those in which both parties' answers are likeliest, each left out of the counts in
 * its turn. Clusters that tell nothing have the likelihood of one rate for all, whatever their number, so more of them win only where
 * they tell more. Nothing about answers went into how any of them were made.
 */

import { clusterRates, type Gates } from './cluster-rates.js';
import type { CalibrationRecord } from './data.js';

/** @returns the place of the likeliest; of equal ones the first */
export function likeliestClusters(
  choices: readonly Gates[],
  records: ReadonlyArray<Pick<CalibrationRecord, 'edgeCorrect' | 'serverCorrect'>>,
): { chosen: number; logLikelihoods: number[] } {
  const answers = [records.map(({ edgeCorrect }) => edgeCorrect), records.map(({ serverCorrect }) => serverCorrect)];
  const logLikelihoods = choices.map((gates) =>
    answers.reduce((sum, right) => sum + clusterRates(gates, right).logLikelihood, 0),
  );
  return { chosen: logLikelihoods.indexOf(Math.max(...logLikelihoods)), logLikelihoods };
}
