/** What calibration found, for people: the thresholds, the sets of signals that were tried, the curve as table and plot. */

import { snakeCase } from '../../core/format.js';
import type { Interval } from '../../core/stats.js';
import type { Calibration, Candidate, Curve, CurvePoint } from '../../routing/calibrate/calibrate.js';
import type { chooseMeasure, Probabilities } from '../../routing/calibrate/probability.js';
import type { Reliability } from '../../routing/calibrate/reliability.js';
import type { CorrectnessWeights } from '../../routing/signals/correctness.js';
import { SIGNALS, type Thresholds } from '../../routing/signals/index.js';
import type { ConfidenceMeasure } from '../../routing/signals/signal.js';
import { SCORED_THROUGH } from '../../train/completion-score.js';
import type { Terminal } from '../terminal.js';

const PLOT_ROWS = 12;
/** With clusters some forty sets of signals are tried. */
const SHOWN_CANDIDATES = 12;

export function printCalibration(found: Calibration, currency: string, terminal: Terminal): void {
  const { thresholds, correctness, correctnessMap, probabilities, success, serverSuccess, candidates, curve } = found;
  printThresholds(thresholds, terminal);
  if (correctness !== null) terminal.print(formulaOf(correctness));
  if (correctnessMap !== null) {
    terminal.print(`read off a map: ${correctnessMap.map(([x, y]) => `${x} -> ${y}`).join(', ')}`);
  }
  if (success !== null) terminal.print(ratesLine(success));
  if (serverSuccess !== null) terminal.print(ratesLine(serverSuccess, 'the server'));
  terminal.print();
  const priced = pricedTable(curve, currency, terminal);
  printOutcomes(found, priced);
  terminal.print();
  if (candidates.length > 0) {
    printCandidates(candidates, terminal);
    terminal.print();
  }
  if (probabilities !== null) {
    printProbabilities(probabilities, correctness !== null, terminal);
    terminal.print();
  }
  priced(
    ['share', 'accuracy, held out', 'random', 'oracle'],
    curve.points
      .filter((_, i) => i % 2 === 0)
      .map(({ share, accuracy, random, oracle, costPer1000 }) => [
        [percent(share), withInterval(accuracy), percent(random), percent(oracle)],
        costPer1000,
      ]),
    ['right', 'right', 'right', 'right', 'right'],
  );
  for (const line of plot(curve.points, Math.min(72, terminal.columns - 8))) terminal.print(line);
  terminal.print(apgrLine(curve));
}

export function printThresholds(thresholds: Thresholds, terminal: Terminal): void {
  terminal.table(
    ['signal', 'threshold', 'to the server when'],
    SIGNALS.map(({ name, meaning }) => {
      const cut = thresholds[name] ?? null;
      return cut === null ? [name, 'off', ''] : [name, String(cut), meaning(cut)];
    }),
    ['left', 'right', 'left'],
  );
}

type PricedTable = (
  head: string[],
  rows: Array<[cells: string[], cost: number]>,
  align: Array<'left' | 'right'>,
) => void;

/** Draws tables of which the last column is the cost, where the server has prices. */
function pricedTable({ points }: Curve, currency: string, terminal: Terminal): PricedTable {
  const isPriced = points.at(-1)!.costPer1000 > 0;
  const withCost = (cells: string[], cost: string) => (isPriced ? [...cells, cost] : cells);
  const money = (x: number) => `${Number(x.toPrecision(3))} ${currency}`;
  return (head, rows, align) =>
    terminal.table(
      withCost(head, 'cost of 1000'),
      rows.map(([cells, cost]) => withCost(cells, money(cost))),
      align,
    );
}

function printOutcomes(found: Calibration, priced: PricedTable): void {
  const { records, edgeAccuracy, serverAccuracy, heldOut, calibrated, curve } = found;
  const whole = curve.points.at(-1)!.costPer1000;
  const { share, accuracy, costPer1000 } = heldOut;
  priced(
    [`${records} examples`, 'share to server', `accuracy, ${SCORED_THROUGH.engine}`],
    [
      [['the device alone', '0.0 %', withInterval(edgeAccuracy)], 0],
      [['the server alone', '100.0 %', withInterval(serverAccuracy)], whole],
      [['these thresholds, held out', withInterval(share), withInterval(accuracy)], costPer1000.estimate],
      [
        ['  on the examples themselves', percent(calibrated.share), percent(calibrated.accuracy)],
        calibrated.costPer1000,
      ],
    ],
    ['left', 'right', 'right', 'right'],
  );
}

function printCandidates(candidates: readonly Candidate[], terminal: Terminal): void {
  terminal.table(
    ['signals tried, held out', 'gain over random', 'share', 'accuracy'],
    candidates
      .slice(0, SHOWN_CANDIDATES)
      .map(({ signals, features, gain, gainStderr, share, accuracy }) => [
        features.length === 0 ? signals.join(' + ') : `${signals[0]} of ${features.map(snakeCase).join(', ')}`,
        `${(100 * gain).toFixed(1)} ± ${(100 * gainStderr).toFixed(1)} points`,
        percent(share),
        percent(accuracy),
      ]),
    ['left', 'right', 'right', 'right'],
  );
  const others = candidates.length - SHOWN_CANDIDATES;
  if (others > 0) terminal.print(`and ${others} others that gain less; --json has them all`);
}

/** The measures of the confidence that were compared; nothing where there was one. */
export function printMeasures(
  { measure, aurocs }: ReturnType<typeof chooseMeasure>,
  configured: ConfidenceMeasure,
  terminal: Terminal,
): void {
  const shown = Object.entries(aurocs).map(([name, auroc]) => `${name} ${auroc.toFixed(3)}`);
  if (shown.length === 0) return;
  const kept = measure === configured ? `${measure} stays` : `${measure} takes the place of ${configured}`;
  terminal.print(
    `Confidence, chance that a right answer has more of it than a wrong one: ${shown.join(', ')}; ${kept}.`,
  );
  terminal.print();
}

function printProbabilities(found: Probabilities, isWritten: boolean, terminal: Terminal): void {
  const { features, map, saved, savedStderr, reliability } = found;
  const names = features.map(snakeCase).join(', ');
  const row = (name: string, judged: Reliability | null) => {
    if (judged === null) return [];
    const { ece, eceOfPerfect, brier, logLoss } = judged;
    const [estimate, low, high, perfect] = [ece.estimate, ece.low, ece.high, eceOfPerfect].map((x) => x.toFixed(3));
    return [[name, `${estimate} [${low}, ${high}]`, perfect!, brier.toFixed(3), logLoss.toFixed(3)]];
  };
  terminal.table(
    ['probability of a right answer, held out', 'ECE', 'if it were right', 'Brier', 'log loss'],
    [
      ...row('the confidence as it is', reliability.confidence),
      ...row(`logistic, of ${names}`, reliability.logistic),
      ...row('  read off an isotonic map', reliability.isotonic),
    ],
    ['left', 'right', 'right', 'right', 'right'],
  );
  const { bins } = reliability[map];
  terminal.print(`${map} map, ${bins.length} bins of equal numbers, said -> right:`);
  const points = bins.map(({ predicted, observed }) => `${predicted.toFixed(2)} -> ${observed.estimate.toFixed(2)}`);
  for (let k = 0; k < points.length; k += 5) terminal.print(`  ${points.slice(k, k + 5).join('   ')}`);
  const by = `the isotonic map saves ${saved.toFixed(3)} ± ${savedStderr.toFixed(3)} nats of log loss`;
  terminal.print(isWritten ? `Taken: ${map}; ${by}.` : `Not written, plain thresholds do as well; ${by}.`);
}

function apgrLine({ apgr, oracleApgr }: Curve): string {
  if (apgr === null) return 'APGR: there is no gap between device and server to recover.';
  const [estimate, low, high] = [apgr.estimate, apgr.low, apgr.high].map((x) => x.toFixed(3));
  return `APGR ${estimate} [${low}, ${high}], random routing 0.5, oracle ${oracleApgr!.toFixed(3)}.`;
}

/** One sentence for the configuration's comment. */
export function remarkOf({ target, heldOut, records }: Calibration): string {
  const { share, accuracy } = heldOut;
  return (
    `target ${target.kind} ${target.value}; on ${records} examples, held out: accuracy ${withInterval(accuracy)} ` +
    `at ${percent(share.estimate)} to the server`
  );
}

/** What a user should know before trusting the thresholds. */
export function doubtsOf(found: Calibration): string[] {
  const { target, attained, helps, signals, correctness, edgeAccuracy, serverAccuracy, heldOut } = found;
  const doubts: string[] = [];
  if (!attained) {
    doubts.push(`The target ${target.kind} ${target.value} is out of reach with these answers; the nearest was taken.`);
  }
  // A rule that weighs the server sends what it does better, worse as it may be on the whole.
  const isWorth = helps && found.serverSuccess !== null;
  if (serverAccuracy.estimate <= edgeAccuracy.estimate && !isWorth) {
    doubts.push('The server is no more accurate than the device on these examples: every query sent there is wasted.');
  } else if (signals.length > 0 && !helps) {
    doubts.push(
      'No signal beats sending queries at random by more than one standard error: these thresholds are chance.',
    );
  }
  if (attained && target.kind === 'accuracy' && heldOut.accuracy.estimate < target.value) {
    doubts.push(`On held-out examples the accuracy is ${percent(heldOut.accuracy.estimate)}, below the target.`);
  }
  const { scope = 0, logScope = 0 } = correctness ?? {};
  if (scope + logScope < 0) {
    doubts.push(
      'The scope weighs against the device: of these examples it answers those better that are less like its own. ' +
        'That holds for queries of the same mixture only.',
    );
  }
  if (edgeAccuracy.estimate === 0)
    doubts.push('The device answered no example right: look at edgeAnswer in the records.');
  if (serverAccuracy.estimate === 0)
    doubts.push('The server answered no example right: look at serverAnswer in the records.');
  return doubts;
}

/** Weights by the configuration's keys, the intercept first. */
export function weightKeys({ intercept, ...weights }: CorrectnessWeights): Record<string, number> {
  const named = Object.entries(weights).map(([name, weight]) => [snakeCase(name), weight] as const);
  return { intercept, ...Object.fromEntries(named) };
}

/** @param rates of the clusters (N) and, last, of strays */
export function ratesLine(rates: readonly number[], of = 'the device'): string {
  return `Success rate of ${of} in each cluster: ${rates.slice(0, -1).join(', ')}; of strays, which are of none: ${rates.at(-1)}`;
}

/** @example 'P(right) = sigmoid(-2.1 + 5.2 probability - 0.4 log_scope)' */
export function formulaOf(weights: CorrectnessWeights): string {
  const { intercept, ...others } = weightKeys(weights);
  const terms = Object.entries(others).map(([key, weight]) => `${weight < 0 ? '-' : '+'} ${Math.abs(weight)} ${key}`);
  return `P(right) = sigmoid(${[intercept, ...terms].join(' ')})`;
}

/**
 * Accuracy over share: `*` the rule, `.` random routing, `o` the oracle. The axis of accuracy spans what is drawn.
 *
 * @param width columns of the plot itself
 */
export function plot(points: readonly CurvePoint[], width: number): string[] {
  const all = points.flatMap(({ accuracy, random, oracle }) => [accuracy.estimate, random, oracle]);
  const [low, high] = [Math.min(...all), Math.max(...all)];
  const rows = Array.from({ length: PLOT_ROWS }, () => new Array<string>(width).fill(' '));
  const put = (share: number, accuracy: number, mark: string) => {
    const row = high === low ? 0 : Math.round(((high - accuracy) / (high - low)) * (PLOT_ROWS - 1));
    rows[row]![Math.round(share * (width - 1))] = mark;
  };
  // The rule last: where marks fall together, it is the one to see.
  for (const { share, random } of points) put(share, random, '.');
  for (const { share, oracle } of points) put(share, oracle, 'o');
  for (const { share, accuracy } of points) put(share, accuracy.estimate, '*');
  const label = (i: number) => (i === 0 ? percent(high) : i === PLOT_ROWS - 1 ? percent(low) : '').padStart(7);
  return [
    ...rows.map((row, i) => `${label(i)} |${row.join('').trimEnd()}`),
    `${' '.repeat(8)}+${'-'.repeat(width)}`,
    `${' '.repeat(9)}0 %${'share to the server'.padStart(Math.floor(width / 2) + 6).padEnd(width - 8)}100 %`,
    `${' '.repeat(9)}* these signals   . random   o oracle`,
  ];
}

export const percent = (share: number) => `${(100 * share).toFixed(1)} %`;

function withInterval({ estimate, low, high }: Interval): string {
  return `${percent(estimate)} [${(100 * low).toFixed(1)}, ${(100 * high).toFixed(1)}]`;
}
