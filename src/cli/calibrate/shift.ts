/** `crayon calibrate --from`: an earlier calibration's rule, of other users, shifted by a few answers of the configuration's own user. */

import { CrayonError } from '../../core/errors.js';
import { mean } from '../../core/stats.js';
import type { CalibrationRecord } from '../../routing/calibrate/data.js';
import { shiftOf } from '../../routing/calibrate/shift.js';
import { correctness, correctnessOf, shifted } from '../../routing/signals/correctness.js';
import { expectedRate } from '../../routing/signals/success.js';
import type { RoutingConfig } from '../../routing/types.js';
import { type EdgeConfig, loadEdgeConfig } from '../../serve/config.js';
import { writeThresholds } from '../../serve/config-thresholds.js';
import type { Terminal } from '../terminal.js';
import { formulaOf, percent, printThresholds, ratesLine, weightKeys } from './report.js';

/** Fewer say next to nothing of a user. */
export const LEAST_SHIFTED = 3;

const DIGITS = 4;

/** A rule that can be shifted: a cut of a probability with its weights. */
export type ShiftableRule = RoutingConfig & { correctness: NonNullable<RoutingConfig['correctness']>; cut: number };

/** @throws CrayonError `config-invalid` where the earlier configuration has no such rule, or looks at answers otherwise */
export function ruleOf(from: string, { routing }: EdgeConfig, where: string): ShiftableRule {
  const earlier = loadEdgeConfig(from).routing;
  const cut = earlier.thresholds.correctness;
  if (earlier.correctness === null || cut === null) {
    throw new CrayonError('config-invalid', `${from}: has no cut of a probability, expected one to shift`, {
      hint: 'Calibrate it with --as-probability: a cut of a signal has no place for what a user is like.',
    });
  }
  const others = Object.entries(earlier.thresholds).filter(([name, at]) => name !== correctness.name && at !== null);
  if (others.length > 0) {
    throw new CrayonError('config-invalid', `${from}: cuts ${others[0]![0]} too, expected the probability alone`, {
      hint: 'Calibrate it with --as-probability.',
    });
  }
  const looked = ({ confidence: { measure, tokens } }: typeof routing) => `${measure} of ${tokens ?? 'all'} tokens`;
  if (looked(earlier) !== looked(routing)) {
    throw new CrayonError(
      'config-invalid',
      `${where}: looks at ${looked(routing)}, expected ${looked(earlier)} as ${from}`,
      { hint: 'Give both the same routing.confidence.' },
    );
  }
  return { ...earlier, correctness: earlier.correctness, cut };
}

/**
 * Fits the shift, writes the configuration and tells.
 *
 * @throws CrayonError `config-invalid` where the rule weighs a signal that the answers lack, `dataset-too-small`
 */
export function shiftRule(
  rule: ShiftableRule,
  records: readonly CalibrationRecord[],
  files: { config: string; out: string; from: string; recordsFile: string },
  force: boolean,
  terminal: Terminal,
): void {
  if (records.length < LEAST_SHIFTED) {
    throw new CrayonError(
      'dataset-too-small',
      `${records.length} answers, expected at least ${LEAST_SHIFTED} to shift a rule`,
    );
  }
  const { correctness: weights, correctnessMap, confidence, success, thresholds, cut } = rule;
  const before = records.map((record) => {
    const rate = record.clusters && success ? expectedRate(success, record.clusters) : Number.NaN;
    return correctnessOf(weights, confidence.measure, { ...record, success: rate }, correctnessMap);
  });
  const bad = before.findIndex(Number.isNaN);
  if (bad >= 0) {
    throw new CrayonError(
      'config-invalid',
      `${files.config}: the answer to ${records[bad]!.id} lacks a signal that ${files.from} weighs: ${formulaOf(weights)}`,
      { hint: 'A scope needs examples; a success rate needs the same pool.' },
    );
  }
  // An answer without a token is none: it is wrong whoever asks.
  const answered = [...records.keys()].filter((i) => before[i]! > 0);
  const labels = answered.map((i) => records[i]!.edgeCorrect);
  const found = shiftOf(
    answered.map((i) => before[i]!),
    labels,
  );
  const shift = Number(found.toPrecision(DIGITS));
  const after = before.map((p) => shifted(p, shift));
  const sent = (probabilities: readonly number[]) => mean(probabilities.map((p) => (p < cut ? 1 : 0)));
  const right = mean(records.map(({ edgeCorrect }) => edgeCorrect));
  writeThresholds(files.config, files.out, {
    thresholds: { ...thresholds },
    weights: weightKeys(weights),
    map: correctnessMap ?? null,
    rates: success ?? null,
    shift,
    remarks: [
      `the rule of ${files.from}, shifted by ${shift} in the log-odds: of ${records.length} answers ${percent(right)} are right, ` +
        `expected were ${percent(mean(before))}`,
    ],
    force,
  });
  terminal.document({
    ...{ out: files.out, recordsFile: files.recordsFile, target: { kind: 'shift', from: files.from }, thresholds },
    ...{ correctness: weights, correctnessMap, success, correctnessShift: shift, records: records.length },
    ...{ right, expected: mean(before), share: { before: sent(before), after: sent(after) } },
  });
  printThresholds(thresholds, terminal);
  terminal.print(formulaOf(weights));
  if (success) terminal.print(ratesLine(success));
  terminal.print(`its log-odds are shifted by ${shift} for this user`);
  terminal.print();
  terminal.table(
    [`${records.length} answers of this user`, 'as calibrated', 'shifted'],
    [
      ['right, expected', percent(mean(before)), percent(mean(after))],
      ['right, found', percent(right), percent(right)],
      ['sent to the server', percent(sent(before)), percent(sent(after))],
    ],
    ['left', 'right', 'right'],
  );
}
