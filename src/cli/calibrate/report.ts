/** What calibration found, for people: the thresholds, the sets of signals that were tried, the curve as table and plot. */

import type { Interval } from '../../core/stats.js';
import type { Calibration, CurvePoint } from '../../routing/calibrate/calibrate.js';
import { type CorrectnessWeights, weightKey } from '../../routing/signals/correctness.js';
import { SIGNALS } from '../../routing/signals/index.js';
import type { Terminal } from '../terminal.js';

const PLOT_ROWS = 12;

export function printCalibration(found: Calibration, currency: string, terminal: Terminal): void {
  const { thresholds, correctness, calibrated, heldOut, edgeAccuracy, serverAccuracy, candidates, curve } = found;
  const money = (x: number) => `${Number(x.toPrecision(3))} ${currency}`;
  const whole = curve.points.at(-1)!.costPer1000;
  /** A row, with its cost where the server has prices. */
  const costed = (cells: string[], cost: string) => (whole > 0 ? [...cells, cost] : cells);

  terminal.table(
    ['signal', 'threshold', 'to the server when'],
    SIGNALS.map(({ name, meaning }) => {
      const cut = thresholds[name] ?? null;
      return [name, cut === null ? 'off' : String(cut), cut === null ? '' : meaning(cut)];
    }),
    ['left', 'right', 'left'],
  );
  if (correctness !== null) terminal.print(formulaOf(correctness));
  terminal.print();
  terminal.table(
    costed([`${found.records} examples`, 'share to server', 'accuracy'], 'cost of 1000'),
    [
      costed(['the device alone', '0.0 %', withInterval(edgeAccuracy)], money(0)),
      costed(['the server alone', '100.0 %', withInterval(serverAccuracy)], money(whole)),
      costed(
        ['these thresholds, held out', withInterval(heldOut.share), withInterval(heldOut.accuracy)],
        money(heldOut.costPer1000.estimate),
      ),
      costed(
        ['  on the examples themselves', percent(calibrated.share), percent(calibrated.accuracy)],
        money(calibrated.costPer1000),
      ),
    ],
    ['left', 'right', 'right', 'right'],
  );
  terminal.print();
  if (candidates.length > 0) {
    terminal.table(
      ['signals tried, held out', 'gain over random', 'share', 'accuracy'],
      candidates.map(({ signals, features, gain, gainStderr, share, accuracy }) => [
        features.length === 0 ? signals.join(' + ') : `correctness of ${features.map(weightKey).join(', ')}`,
        `${(100 * gain).toFixed(1)} ± ${(100 * gainStderr).toFixed(1)} points`,
        percent(share),
        percent(accuracy),
      ]),
      ['left', 'right', 'right', 'right'],
    );
    terminal.print();
  }
  terminal.table(
    costed(['share', 'accuracy, held out', 'random', 'oracle'], 'cost of 1000'),
    curve.points
      .filter((_, i) => i % 2 === 0)
      .map(({ share, accuracy, random, oracle, costPer1000 }) =>
        costed([percent(share), withInterval(accuracy), percent(random), percent(oracle)], money(costPer1000)),
      ),
    ['right', 'right', 'right', 'right', 'right'],
  );
  for (const line of plot(curve.points, Math.min(72, terminal.columns - 8))) terminal.print(line);
  if (curve.apgr === null) terminal.print('APGR: there is no gap between device and server to recover.');
  else {
    const { estimate, low, high } = curve.apgr;
    terminal.print(
      `APGR ${estimate.toFixed(3)} [${low.toFixed(3)}, ${high.toFixed(3)}], random routing 0.5, oracle ${curve.oracleApgr!.toFixed(3)}.`,
    );
  }
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
  if (serverAccuracy.estimate <= edgeAccuracy.estimate) {
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
  const named = Object.entries(weights).map(([name, weight]) => [weightKey(name), weight] as const);
  return { intercept, ...Object.fromEntries(named) };
}

/** @example 'P(right) = sigmoid(-2.1 + 5.2 probability - 0.4 log_scope)' */
function formulaOf(weights: CorrectnessWeights): string {
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

const percent = (share: number) => `${(100 * share).toFixed(1)} %`;

function withInterval({ estimate, low, high }: Interval): string {
  return `${percent(estimate)} [${(100 * low).toFixed(1)}, ${(100 * high).toFixed(1)}]`;
}
