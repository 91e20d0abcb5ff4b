/** `crayon calibrate --from`: an earlier calibration's rule, of other users, shifted by a few answers of the configuration's own user. */

import { CrayonError } from '../../core/errors.js';
import { mean } from '../../core/stats.js';
import type { CalibrationRecord } from '../../routing/calibrate/data.js';
import { shiftOf } from '../../routing/calibrate/shift.js';
import { correctness, correctnessOf } from '../../routing/signals/correctness.js';
import { gain } from '../../routing/signals/gain.js';
import { shifted } from '../../routing/signals/shifted.js';
import { expectedRate } from '../../routing/signals/success.js';
import type { RoutingConfig } from '../../routing/types.js';
import { type EdgeConfig, loadEdgeConfig } from '../../serve/config.js';
import { writeThresholds } from '../../serve/config-thresholds.js';
import type { Terminal } from '../terminal.js';
import type { CalibrationFiles } from './flags.js';
import { formulaOf, percent, printThresholds, ratesLine, weightKeys } from './report.js';

/** Fewer say next to nothing of a user. */
export const LEAST_SHIFTED = 3;

const DIGITS = 4;

/** A rule that can be shifted: a cut of a probability, or of a difference of two, with its weights. */
export interface ShiftableRule extends RoutingConfig {
  correctness: NonNullable<RoutingConfig['correctness']>;
  by: 'correctness' | 'gain';
  cut: number;
  /** the file that its rates are of; null for the pool's clusters */
  clusters: string | null;
}

/** @throws CrayonError `config-invalid` where the earlier configuration has no such rule, or looks at answers otherwise */
export function ruleOf(from: string, { routing }: EdgeConfig, where: string): ShiftableRule {
  const { routing: earlier, clusters } = loadEdgeConfig(from);
  const by = earlier.thresholds.gain === null ? correctness.name : gain.name;
  const cut = earlier.thresholds[by];
  if (earlier.correctness === null || cut === null) {
    throw new CrayonError('config-invalid', `${from}: has no cut of a probability, expected one to shift`, {
      hint: 'Calibrate it with --as-probability: a cut of a signal has no place for what a user is like.',
    });
  }
  const others = Object.entries(earlier.thresholds).filter(([name, at]) => name !== by && at !== null);
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
  return { ...earlier, correctness: earlier.correctness, by, cut, clusters };
}

/**
 * Fits the shift, writes the configuration and tells.
 *
 * @throws CrayonError `config-invalid` where the rule weighs a signal that the answers lack, `dataset-too-small`
 */
export function shiftRule(
  rule: ShiftableRule,
  records: readonly CalibrationRecord[],
  files: CalibrationFiles & { from: string },
  terminal: Terminal,
): void {
  if (records.length < LEAST_SHIFTED) {
    throw new CrayonError(
      'dataset-too-small',
      `${records.length} answers, expected at least ${LEAST_SHIFTED} to shift a rule`,
    );
  }
  const { correctness: weights, correctnessMap, confidence, success, serverSuccess, thresholds, by, cut } = rule;
  const ofClusters = (rates: readonly number[] | null | undefined) =>
    records.map(({ clusters }) => (clusters && rates ? expectedRate(rates, clusters) : Number.NaN));
  const rates = ofClusters(success);
  const before = records.map((record, i) =>
    correctnessOf(weights, confidence.measure, { ...record, success: rates[i]! }, correctnessMap),
  );
  const ofServer = by === 'gain' ? ofClusters(serverSuccess) : null;
  const bad = before.findIndex((p, i) => Number.isNaN(p) || Number.isNaN(ofServer?.[i]));
  if (bad >= 0) {
    throw new CrayonError(
      'config-invalid',
      `${files.config}: the answer to ${records[bad]!.id} lacks a signal that ${files.from} weighs: ${formulaOf(weights)}`,
      { hint: 'A scope needs examples; a success rate needs the same pool.' },
    );
  }
  // An answer without a token is none: it is wrong whoever asks.
  const answered = [...records.keys()].filter((i) => before[i]! > 0);
  const shift = fittedShift(
    answered.map((i) => before[i]!),
    answered.map((i) => records[i]!.edgeCorrect),
  );
  const serverShift =
    ofServer &&
    fittedShift(
      ofServer,
      records.map(({ serverCorrect }) => serverCorrect),
    );
  const after = before.map((p) => shifted(p, shift));
  const afterServer = ofServer?.map((p) => shifted(p, serverShift!)) ?? null;
  const sent = (device: readonly number[], server: readonly number[] | null) =>
    mean(device.map((p, i) => ((server === null ? p < cut : server[i]! - p > cut) ? 1 : 0)));
  const right = mean(records.map(({ edgeCorrect }) => edgeCorrect));
  const rightServer = mean(records.map(({ serverCorrect }) => serverCorrect));
  writeThresholds(files.config, files.out, {
    thresholds: { ...thresholds },
    weights: weightKeys(weights),
    map: correctnessMap ?? null,
    rates: success ?? null,
    serverRates: serverSuccess ?? null,
    shift,
    serverShift: serverShift ?? 0,
    clusters: rule.clusters,
    remarks: [
      `the rule of ${files.from}, shifted by ${shift} in the log-odds: of ${records.length} answers ${percent(right)} are right, ` +
        `expected were ${percent(mean(before))}`,
    ],
    force: files.force,
  });
  const share = { before: sent(before, ofServer), after: sent(after, afterServer) };
  terminal.document({
    ...{ out: files.out, recordsFile: files.recordsFile, target: { kind: 'shift', from: files.from }, thresholds },
    ...{ correctness: weights, correctnessMap, success, correctnessShift: shift, records: records.length },
    ...(ofServer && { serverSuccess, serverShift, server: { right: rightServer, expected: mean(ofServer) } }),
    ...{ right, expected: mean(before), share },
  });
  printThresholds(thresholds, terminal);
  terminal.print(formulaOf(weights));
  if (success) terminal.print(ratesLine(success));
  if (ofServer) terminal.print(ratesLine(serverSuccess!, 'the server'));
  terminal.print(
    `its log-odds are shifted by ${shift} for this user${serverShift === null ? '' : `, those of the server by ${serverShift}`}`,
  );
  terminal.print();
  const serverRows = ofServer && [
    ['right by the server, expected', percent(mean(ofServer)), percent(mean(afterServer!))],
    ['right by the server, found', percent(rightServer), percent(rightServer)],
  ];
  terminal.table(
    [`${records.length} answers of this user`, 'as calibrated', 'shifted'],
    [
      ['right, expected', percent(mean(before)), percent(mean(after))],
      ['right, found', percent(right), percent(right)],
      ...(serverRows ?? []),
      ['sent to the server', percent(share.before), percent(share.after)],
    ],
    ['left', 'right', 'right'],
  );
}

function fittedShift(probabilities: readonly number[], labels: readonly number[]): number {
  return Number(shiftOf(probabilities, labels).toPrecision(DIGITS));
}
