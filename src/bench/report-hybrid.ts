/** Hybrid curves of a run: edge and server answers paired by user and example, sorted by the routing signals they carry. */

import type { BootstrapOptions } from '../core/stats.js';
import {
  type HybridCurve,
  type HybridIntervals,
  hybridCurve,
  hybridIntervals,
  type Routable,
  type SharePoint,
} from './hybrid-curve.js';
import type { AnsweredCell } from './report-read.js';
import { exampleId, type Unit, unitId } from './report-units.js';
import { EDGES, SERVER, strategyTitle } from './strategy-names.js';
import type { AnswerRecord, ScoringMethod } from './types.js';

export const ROUTING_SIGNALS = ['confidence', 'scope', 'both'] as const;
export type RoutingSignal = (typeof ROUTING_SIGNALS)[number];

export const SIGNAL_TITLES: Readonly<Record<RoutingSignal, string>> = {
  confidence: 'confidence',
  scope: 'scope',
  both: 'scope or confidence',
};

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
export function routingScores(answers: readonly AnswerRecord[], signal: RoutingSignal): Float64Array | null {
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

export interface HybridSection {
  /** strategies in the order of EDGES, methods in that of the report, signals in the order of ROUTING_SIGNALS */
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
      for (const signal of ROUTING_SIGNALS) {
        const scores = routingScores(
          pairs.map(({ edge }) => edge),
          signal,
        );
        if (scores === null) {
          if (signal !== 'both') remarks.push(`${title}: not every answer has a ${signal}, so it cannot route.`);
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
