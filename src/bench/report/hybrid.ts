/** Hybrid curves of a run: edge and server answers paired by user and example, sorted by the routing signals they carry. */

import type { BootstrapOptions } from '../../core/stats.js';
import {
  type HybridCurve,
  type HybridIntervals,
  hybridCurve,
  hybridIntervals,
  type Routable,
  type SharePoint,
} from '../../routing/calibrate/hybrid-curve.js';
import { EDGES, SERVER, strategyTitle } from '../strategies/names.js';
import type { AnswerRecord, ScoringMethod } from '../types.js';
import { heldOutScores, type RuleKind, type UserAnswers } from './calibrated-rule.js';
import type { AnsweredCell } from './read.js';
import { exampleId, type Unit, unitId } from './units.js';

/** Read off the answers, without any label. */
const PLAIN_SIGNALS = ['confidence', 'scope', 'both'] as const;
type PlainSignal = (typeof PLAIN_SIGNALS)[number];

/** From rules that were fitted on held-out examples; the last two are controls, which say what the first two rest on. */
const CALIBRATED_SIGNALS = {
  calibrated: 'all-users',
  'calibrated-user': 'per-user',
  'user-alone': 'user',
  'other-users': 'other-users',
} as const satisfies Record<string, RuleKind>;
type CalibratedSignal = keyof typeof CALIBRATED_SIGNALS;

export type RoutingSignal = PlainSignal | CalibratedSignal;

export const SIGNAL_TITLES: Readonly<Record<RoutingSignal, string>> = {
  confidence: 'confidence',
  scope: 'scope',
  both: 'scope or confidence',
  calibrated: 'calibrated',
  'calibrated-user': 'calibrated per user',
  'user-alone': 'control: user alone',
  'other-users': 'control: other users',
};

/** In the order of the report. */
export const ROUTING_SIGNALS = Object.keys(SIGNAL_TITLES) as RoutingSignal[];

/** Stands in the tables, but has no curve in the picture. */
export function isControl(signal: RoutingSignal): boolean {
  return signal === 'user-alone' || signal === 'other-users';
}

export interface Pair {
  edge: AnswerRecord;
  server: AnswerRecord;
}

/**
 * Answers to the same examples, in the order of the edge's.
 *
 * @returns also how many of either side had no counterpart
 */
export function pairAnswers(
  edge: readonly AnswerRecord[],
  server: readonly AnswerRecord[],
): { pairs: Pair[]; unpaired: number } {
  const others = new Map(server.map((answer) => [exampleId(answer), answer]));
  const pairs = edge.flatMap((answer) => {
    const other = others.get(exampleId(answer));
    return other === undefined ? [] : [{ edge: answer, server: other }];
  });
  return { pairs, unpaired: edge.length + server.length - 2 * pairs.length };
}

/**
 * The edge's routing scores, larger where the device should answer, or null where an answer lacks the signal.
 *
 * `both` is the rule "to the server when scope or confidence is below its cut", with the two cuts at equal ranks: the smaller
 * of an answer's two ranks.
 */
export function routingScores(answers: readonly AnswerRecord[], signal: PlainSignal): Float64Array | null {
  if (signal === 'both') {
    const scope = routingScores(answers, 'scope');
    const confidence = routingScores(answers, 'confidence');
    if (scope === null || confidence === null) return null;
    const [a, b] = [ranks(scope), ranks(confidence)];
    return a.map((rank, i) => Math.min(rank, b[i]!));
  }
  const values = answers.map((answer) => answer[signal]);
  return values.every((x) => x !== undefined) ? Float64Array.from(values as number[]) : null;
}

/** Rank of each value from 1, the mean one where values are equal. */
export function ranks(values: Float64Array): Float64Array {
  const order = Int32Array.from(values.keys()).sort((i, j) => values[i]! - values[j]! || i - j);
  const result = new Float64Array(values.length);
  for (let from = 0; from < order.length; ) {
    let to = from + 1;
    while (to < order.length && values[order[to]!] === values[order[from]!]) to++;
    for (let k = from; k < to; k++) result[order[k]!] = (from + 1 + to) / 2;
    from = to;
  }
  return result;
}

export interface HybridRow {
  edgeStrategy: string;
  title: string;
  signal: RoutingSignal;
  method: ScoringMethod;
  users: number;
  curve: HybridCurve;
  intervals: HybridIntervals;
}

/** Part of the gap that the oracle recovers at a share of the table: no router can do better. NaN without a gap. */
export function oracleRecovered({ edge, server }: HybridIntervals, point: SharePoint): number {
  const gap = server.estimate - edge.estimate;
  return gap > 0 ? (point.oracle.estimate - edge.estimate) / gap : Number.NaN;
}

/**
 * The row that speaks for its strategy: of the calibrated rule, and of the first signal where there is none. Always that one,
 * not whichever came out best.
 */
export function headline(rows: readonly HybridRow[]): HybridRow {
  return rows.find(({ signal }) => signal === 'calibrated') ?? rows[0]!;
}

export interface HybridSection {
  /** strategies in the order of EDGES, methods in that of the report, signals in that of ROUTING_SIGNALS */
  rows: HybridRow[];
  remarks: string[];
}

/**
 * One threshold for all users, every query counting alike. Of several seeds of a user the lowest is taken.
 *
 * @returns null when no strategy on the device and the server have answered the same examples by the same method
 */
export function hybridSection(
  cells: readonly AnsweredCell[],
  units: readonly Unit[],
  methods: readonly ScoringMethod[],
  options: BootstrapOptions,
): HybridSection | null {
  const rows: HybridRow[] = [];
  const remarks: string[] = [];
  for (const edgeStrategy of EDGES) {
    for (const method of methods) {
      const paired = units.flatMap((unit) => {
        const edge = lowestSeed(cells, unit, edgeStrategy, method);
        const server = lowestSeed(cells, unit, SERVER, method);
        if (edge === undefined || server === undefined) return [];
        return [pairAnswers(edge.answers, server.answers)];
      });
      const strata = paired.map(({ pairs }) => pairs.length).filter((size) => size > 0);
      const pairs = paired.flatMap((p) => p.pairs);
      if (pairs.length === 0) continue;
      const unpaired = paired.reduce((sum, p) => sum + p.unpaired, 0);
      const title = strategyTitle(edgeStrategy);
      if (unpaired > 0) {
        remarks.push(`${title}: ${unpaired} answers have no counterpart on the other side and are left out.`);
      }
      const answers = pairs.map(({ edge }) => edge);
      const users = strata.flatMap((size, user) => new Array<number>(size).fill(user));
      for (const [signal, scores] of signalScores({ answers, users }, options.seed)) {
        if (scores === null) {
          if (signal === 'confidence' || signal === 'scope') {
            remarks.push(`${title}: not every answer has a ${signal}, so it cannot route.`);
          }
          continue;
        }
        const items: Routable[] = pairs.map(({ edge, server }, i) => ({
          edge: edge.correct,
          server: server.correct,
          score: scores[i]!,
        }));
        const curve = hybridCurve(items);
        const intervals = hybridIntervals(items, strata, options);
        rows.push({ edgeStrategy, title, signal, method, users: strata.length, curve, intervals });
      }
    }
  }
  return rows.length === 0 && remarks.length === 0 ? null : { rows, remarks };
}

/** Each signal with its scores, or null where it has none; folds are drawn with the bootstrap's seed. */
function signalScores(of: UserAnswers, seed: number): Array<[RoutingSignal, Float64Array | null]> {
  return [
    ...PLAIN_SIGNALS.map((signal): [RoutingSignal, Float64Array | null] => [signal, routingScores(of.answers, signal)]),
    ...Object.entries(CALIBRATED_SIGNALS).map(([signal, kind]): [RoutingSignal, Float64Array | null] => [
      signal as CalibratedSignal,
      heldOutScores(of, kind, seed),
    ]),
  ];
}

function lowestSeed(
  cells: readonly AnsweredCell[],
  unit: Unit,
  strategy: string,
  method: ScoringMethod,
): AnsweredCell | undefined {
  return cells
    .filter(({ cell }) => unitId(cell.user) === unit.id && cell.strategy === strategy && cell.method === method)
    .sort((a, b) => a.cell.seed - b.cell.seed)[0];
}
