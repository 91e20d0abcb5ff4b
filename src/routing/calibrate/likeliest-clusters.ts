/**
 * Which clusters a router's rates are counted in: those in which both parties' answers are likeliest, each left out of the counts in
 * its turn. Clusters that tell nothing have the likelihood of one rate for all, whatever their number, so more of them win only where
 * they tell more; and only where that is more than a standard error. Nothing about answers went into how any of them were made.
 */

import { mean, standardError } from '../../core/stats.js';
import { clusterRates, type Gates } from './cluster-rates.js';
import type { CalibrationRecord } from './data.js';

/** @returns the place of the likeliest where it is that much likelier than the first, else 0; and each one's, an answered question */
export function likeliestClusters(
  choices: readonly Gates[],
  records: ReadonlyArray<Pick<CalibrationRecord, 'edgeCorrect' | 'serverCorrect'>>,
): { chosen: number; logLikelihoods: number[] } {
  const answers = [records.map(({ edgeCorrect }) => edgeCorrect), records.map(({ serverCorrect }) => serverCorrect)];
  const each = choices.map((gates) => {
    const [device, server] = answers.map((right) => clusterRates(gates, right).logLikelihoods);
    return device!.map((x, i) => x + server![i]!);
  });
  const logLikelihoods = each.map(mean);
  const best = logLikelihoods.indexOf(Math.max(...logLikelihoods));
  const lead = records.map((_, i) => each[best]![i]! - each[0]![i]!);
  return { chosen: mean(lead) > standardError(lead) ? best : 0, logLikelihoods };
}
