/** Hybrid curves of a run: the device's and the server's answers, paired by example and sorted by a routing signal. */

import type { BootstrapOptions } from '../../core/stats.js';
import {
  type HybridCurve,
  type HybridIntervals,
  hybridCurve,
  hybridIntervals,
  type SharePoint,
} from '../../routing/calibrate/hybrid-curve.js';
import { EDGES, SERVER, strategyTitle } from '../strategies/index.js';
import type { AnswerRecord, ScoringMethod } from '../types.js';
import { heldOutScores, type RuleKind, type UserAnswers } from './calibrated-rule.js';
import type { AnsweredCell } from './read.js';
import { exampleId, type Unit, unitId } from './units.js';

/**
 * How queries may be routed, in the order of the report: by signals read off the answers without any label, then by rules
 * that were fitted on held-out examples. The controls say what those rest on; they have no curve in the picture.
 */
const ROUTINGS = {
  confidence: { title: 'confidence' },
  scope: { title: 'scope' },
  both: { title: 'scope or confidence' },
  calibrated: { title: 'calibrated', rule: 'all-users' },
  'calibrated-user': { title: 'calibrated per user', rule: 'per-user' },
  'user-alone': { title: 'control: user alone', rule: 'user', isControl: true },
  'other-users': { title: 'control: other users', rule: 'other-users', isControl: true },
} as const satisfies Record<string, { title: string; rule?: RuleKind; isControl?: true }>;

export type RoutingSignal = keyof typeof ROUTINGS;
type PlainSignal = 'confidence' | 'scope' | 'both';

export const ROUTING_SIGNALS = Object.keys(ROUTINGS) as RoutingSignal[];

export function signalTitle(signal: RoutingSignal): string {
  return ROUTINGS[signal].title;
}

export function isControl(signal: RoutingSignal): boolean {
  return 'isControl' in ROUTINGS[signal];
}

/** Larger where the device should answer, or null where the signal has none; folds are drawn with the bootstrap's seed. */
function scoresBy(signal: RoutingSignal, of: UserAnswers, seed: number): Float64Array | null {
  const routing = ROUTINGS[signal];
  return 'rule' in routing ? heldOutScores(of, routing.rule, seed) : routingScores(of.answers, signal as PlainSignal);
}

/**
 * Routing scores of the device's answers, larger where the device should answer, or null where an answer lacks the signal.
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

/**
 * One threshold for all users, every query counting alike. Of several seeds of a user the lowest is taken. Rows stand in the
 * order of EDGES, of the report's methods, and of ROUTING_SIGNALS.
 *
 * @returns null when no strategy on the device and the server have answered the same examples by the same method
 */
export function hybridSection(
  cells: readonly AnsweredCell[],
  units: readonly Unit[],
  methods: readonly ScoringMethod[],
  options: BootstrapOptions,
): { rows: HybridRow[]; remarks: string[] } | null {
  const rows: HybridRow[] = [];
  const remarks: string[] = [];
  for (const [edgeStrategy, method] of EDGES.flatMap((edge) => methods.map((m) => [edge, m] as const))) {
    const answersOf = (strategy: string, unit: Unit): AnswerRecord[] =>
      cells
        .filter(({ cell }) => unitId(cell.user) === unit.id && cell.strategy === strategy && cell.method === method)
        .sort((a, b) => a.cell.seed - b.cell.seed)[0]?.answers ?? [];
    const title = strategyTitle(edgeStrategy);
    const pairs: Array<{ edge: AnswerRecord; server: AnswerRecord; user: number }> = [];
    const strata: number[] = [];
    let unpaired = 0;
    for (const unit of units) {
      const edge = answersOf(edgeStrategy, unit);
      const server = new Map(answersOf(SERVER, unit).map((answer) => [exampleId(answer), answer]));
      if (edge.length === 0 || server.size === 0) continue;
      const paired = edge.filter((answer) => server.has(exampleId(answer)));
      unpaired += edge.length + server.size - 2 * paired.length;
      if (paired.length === 0) continue;
      for (const answer of paired) {
        pairs.push({ edge: answer, server: server.get(exampleId(answer))!, user: strata.length });
      }
      strata.push(paired.length);
    }
    if (pairs.length === 0) continue;
    if (unpaired > 0) {
      remarks.push(`${title}: ${unpaired} answers have no counterpart on the other side and are left out.`);
    }
    const answered = { answers: pairs.map(({ edge }) => edge), users: pairs.map(({ user }) => user) };
    for (const signal of ROUTING_SIGNALS) {
      const scores = scoresBy(signal, answered, options.seed);
      if (scores === null) {
        if (signal === 'confidence' || signal === 'scope') {
          remarks.push(`${title}: not every answer has a ${signal}, so it cannot route.`);
        }
        continue;
      }
      const items = pairs.map(({ edge, server }, i) => ({
        edge: edge.correct,
        server: server.correct,
        score: scores[i]!,
      }));
      const curve = hybridCurve(items);
      const intervals = hybridIntervals(items, strata, options);
      rows.push({ edgeStrategy, title, signal, method, users: strata.length, curve, intervals });
    }
  }
  return rows.length === 0 && remarks.length === 0 ? null : { rows, remarks };
}
