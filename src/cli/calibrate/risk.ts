/** `crayon calibrate --max-risk`: what is written, printed and refused where a part of the kept answers is guaranteed. */

import { casesNeeded } from '../../core/binomial.js';
import { CrayonError } from '../../core/errors.js';
import { createRandom } from '../../core/random.js';
import { type CalibrationRecord, dataByMeasure } from '../../routing/calibrate/data.js';
import {
  examplesMissing,
  isOften,
  planRisk,
  type Realised,
  type RiskFound,
  type RiskOptions,
  type RiskPlan,
  type RiskTarget,
  realisedRisk,
  riskThresholds,
  testRisk,
} from '../../routing/calibrate/risk.js';
import { type Outcome, outcomeOf } from '../../routing/calibrate/rule.js';
import type { ConfidenceMeasure } from '../../routing/signals/signal.js';
import { writeThresholds } from '../../serve/config-thresholds.js';
import type { Terminal } from '../terminal.js';
import type { CalibrationFiles } from './flags.js';
import { formulaOf, percent, printThresholds, ratesLine, weightKeys } from './report.js';

/** Calibrations on resampled records, of which the part that broke the promise is printed. */
const RESAMPLED = 200;

/** @throws CrayonError `dataset-too-small` where no answers at all could show it: before anything is asked */
export function refuseTooFew(examples: number, target: RiskTarget): void {
  const [none, one] = [0, 1].map((wrong) => casesNeeded(wrong, target.risk, target.confidence)) as [number, number];
  if (examples >= none) return;
  throw new CrayonError(
    'dataset-too-small',
    `${examples} examples can show ${wanted(target)} whatever the answers are: it takes ${none} that the device keeps without ` +
      `an error, ${one} with one; at least ${none - examples} are missing`,
    { hint: 'Give more examples, or a larger --max-risk. Nothing was asked and nothing written.' },
  );
}

const wanted = ({ risk, confidence }: RiskTarget) => `no error rate of at most ${risk} with confidence ${confidence}`;

export interface RiskCalibration extends RiskFound {
  plan: RiskPlan;
  /** of the rule on the records that tested the cut */
  outcome: Outcome;
  realised: Realised;
}

/**
 * @param measures of the confidence that may be chosen, the configured one first
 * @throws CrayonError `dataset-too-small` where no cut is shown to hold, with how many examples are missing
 */
export function calibrateRisk(
  records: readonly CalibrationRecord[],
  measures: readonly ConfidenceMeasure[],
  options: RiskOptions,
): RiskCalibration {
  const datas = dataByMeasure(records, measures);
  // The order of a file is no random one.
  const indices = createRandom(options.seed, 'risk-order').shuffle([...datas[0]!.all]);
  const plan = planRisk(datas, indices, options);
  const found = testRisk(plan, options);
  if (!found.holds) throw notShown(plan, found, records.length, options);
  const suspicion = plan.data.suspicion[plan.signals[0]!];
  const outcome = outcomeOf(plan.data, plan.testing, (i) => suspicion[i]! > found.cut);
  return {
    ...found,
    plan,
    outcome,
    realised: realisedRisk(datas, options, { times: RESAMPLED, size: records.length }),
  };
}

/** What `crayon calibrate --max-risk` makes of the answers. @throws CrayonError as `calibrateRisk` */
export function guaranteeRisk(
  records: readonly CalibrationRecord[],
  { measures, currency, ...options }: RiskOptions & { measures: readonly ConfidenceMeasure[]; currency: string },
  { config, out, recordsFile, force }: CalibrationFiles,
  terminal: Terminal,
): void {
  const found = calibrateRisk(records, measures, options);
  const { data: _, cuts: __, weights, rates, fitting, testing, ...plan } = found.plan;
  const thresholds = riskThresholds(found.plan, found);
  writeThresholds(config, out, {
    thresholds: { ...thresholds },
    weights: weights === null ? null : weightKeys(weights),
    rates,
    serverRates: null,
    clusters: null,
    ...(plan.measure !== measures[0] && { measure: plan.measure }),
    remarks: [riskRemark(found, options)],
    force,
  });
  const { risk, confidence } = options;
  terminal.document({
    ...{ out, recordsFile, currency, target: { kind: 'risk', risk, confidence }, thresholds },
    ...{ correctness: weights, success: rates },
    ...{ records: records.length, ...found, plan: { ...plan, fitting: fitting.length, testing: testing.length } },
  });
  printRisk(found, options, terminal);
}

function notShown(plan: RiskPlan, found: RiskFound, records: number, target: RiskTarget): CrayonError {
  const { kept, wrong } = found;
  const missing = examplesMissing(plan, found, target);
  const seen = `${records} examples show ${wanted(target)}: ${wrong} of the ${kept} surest answers that tested it are wrong`;
  const kind = 'a larger --max-risk';
  if (missing === null) {
    return new CrayonError('dataset-too-small', seen, {
      hint: `The device errs too often even where it is surest: more examples would not help, ${kind} or a better adapter would.`,
    });
  }
  if (isOften(found, target)) {
    return new CrayonError(
      'dataset-too-small',
      `${seen}; with about ${missing} examples more the surer half of them could be tested alone`,
      { hint: `Give more examples, or ${kind}. The answers so far are kept; nothing else was written.` },
    );
  }
  return new CrayonError(
    'dataset-too-small',
    `${seen}, which takes ${casesNeeded(wrong, target.risk, target.confidence)} of them; about ${missing} examples are missing`,
    { hint: `Give more examples, or ${kind}. The answers so far are kept; nothing else was written.` },
  );
}

/** One sentence for the configuration's comment. */
export function riskRemark(
  { plan, kept, wrong, bound, outcome }: RiskCalibration,
  { risk, confidence }: RiskTarget,
): string {
  return (
    `at most ${percent(risk)} of the kept answers wrong, with confidence ${confidence}: ${wrong} of ${kept} kept of ` +
    `${plan.testing.length} examples, bound ${percent(bound)}; ${percent(outcome.share)} to the server`
  );
}

export function printRisk(found: RiskCalibration, { risk, confidence }: RiskTarget, terminal: Terminal): void {
  const { plan, kept, wrong, bound, outcome, realised } = found;
  printThresholds(riskThresholds(plan, found), terminal);
  if (plan.weights !== null) terminal.print(formulaOf(plan.weights));
  if (plan.rates !== null) terminal.print(ratesLine(plan.rates));
  terminal.print();
  const chosenBy =
    plan.fitting.length === 0
      ? 'the confidence as it is; nothing was fitted to so few examples'
      : `chosen and fitted on ${plan.fitting.length} other examples`;
  terminal.table(
    [`${plan.testing.length} examples that tested the cut`, ''],
    [
      ['score', `${plan.signals[0]}, ${chosenBy}`],
      ['kept on the device', `${kept} (${percent(kept / plan.testing.length)})`],
      ['of these wrong', `${wrong} (${percent(kept === 0 ? 0 : wrong / kept)})`],
      [`with confidence ${confidence} at most`, `${percent(bound)}, wanted ${percent(risk)}`],
      ['accuracy with the server', percent(outcome.accuracy)],
    ],
    ['left', 'left'],
  );
  const { times, holds, violations } = realised;
  terminal.print(
    `Repeated on ${times} resamples of the examples: a cut was shown to hold in ${holds}, and its error rate was above ` +
      `${percent(risk)} in ${percent(violations / times)} of all (promised: at most ${percent(1 - confidence)}).`,
  );
}
