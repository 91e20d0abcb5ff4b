/**
 * The cuts that meet a target best on given records. The rule stays the staged one: the cuts of the earlier signals come from
 * a grid of quantiles, and for each choice of them the last signal's cut is found exactly, by one pass over the records in
 * the order of its suspicion.
 */

import { meanAt } from '../../core/stats.js';
import { type SignalName, signalNamed } from '../signals/index.js';
import { type CalibrationData, type Cuts, cutBetween, signOf } from './data.js';

/** What is wanted: at most this share to the server, at least this accuracy, or at most this money for 1000 queries. */
export type Target =
  | { kind: 'share'; value: number }
  | { kind: 'accuracy'; value: number }
  | { kind: 'cost'; value: number };

/** How a rule does on some records. */
export interface Outcome {
  /** part of the queries that the server answers */
  share: number;
  accuracy: number;
  /** money for 1000 queries */
  costPer1000: number;
}

export interface Solution extends Outcome {
  cuts: Cuts;
  /** whether the target is met on these records */
  attained: boolean;
}

/** Parts of the queries that an earlier signal may send by itself. */
const GRID = [0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9];

const TOLERANCE = 1e-9;

/**
 * The best cuts of these signals on the records at `indices`; null where the target allows none of them (a share so small
 * that no earlier signal may be on).
 *
 * @param signals at least one, in the rule's order
 */
export function solveCuts(
  data: CalibrationData,
  indices: readonly number[],
  signals: readonly SignalName[],
  target: Target,
): Solution | null {
  const last = signals.at(-1)!;
  const suspicion = data.suspicion[last];
  const order = [...indices].sort((a, b) => descending(suspicion[a]!, suspicion[b]!));
  const gap = gainAtRandom(data, indices);
  let best: Solution | null = null;
  for (const cuts of gridOf(data, indices, signals.slice(0, -1))) {
    const found = cutLast(data, order, cuts, last, target);
    if (found !== null && (best === null || isBetter(found, best, target, gap))) best = found;
  }
  return best;
}

/** What sending a query at random gains: nothing where the server is no better, since then nobody would. */
export function gainAtRandom(data: CalibrationData, indices: readonly number[]): number {
  return Math.max(0, meanAt(data.server, indices) - meanAt(data.edge, indices));
}

/** How these cuts do on the records at `indices`. */
export function outcomeOf(
  data: CalibrationData,
  indices: ArrayLike<number>,
  isRouted: (i: number) => boolean,
): Outcome {
  let [routed, correct, cost] = [0, 0, 0];
  for (let j = 0; j < indices.length; j++) {
    const i = indices[j]!;
    if (isRouted(i)) {
      routed++;
      correct += data.server[i]!;
      cost += data.cost[i]!;
    } else correct += data.edge[i]!;
  }
  const n = indices.length;
  return { share: routed / n, accuracy: correct / n, costPer1000: (1000 * cost) / n };
}

/** Every choice of the earlier signals' cuts. */
function gridOf(data: CalibrationData, indices: readonly number[], signals: readonly SignalName[]): Cuts[] {
  let grid: Cuts[] = [{}];
  for (const name of signals) {
    const values = indices.map((i) => data.suspicion[name][i]!).sort(descending);
    const cuts = new Set<number>();
    for (const share of GRID) {
      // The first `at` are sent; equal ones cannot be parted.
      const at = Math.round(share * values.length);
      const [high, low] = [values[at - 1], values[at]];
      if (at > 0 && at < values.length && high! > low!) cuts.add(cutBetween(name, low, high));
    }
    grid = grid.flatMap((earlier) => [...cuts].map((cut) => ({ ...earlier, [name]: cut })));
  }
  return grid;
}

/** One pass in the order of suspicion: at each place where the last signal could be cut, the outcome is known. */
function cutLast(
  data: CalibrationData,
  order: readonly number[],
  earlier: Cuts,
  last: SignalName,
  target: Target,
): Solution | null {
  const { edge, server, cost } = data;
  const suspicion = data.suspicion[last];
  const n = order.length;
  const names = Object.keys(earlier) as SignalName[];
  const sent = Uint8Array.from(order, (i) => (names.some((name) => data.suspicion[name][i]! > earlier[name]!) ? 1 : 0));
  let [routed, correct, money] = [0, 0, 0];
  for (const [j, i] of order.entries()) {
    routed += sent[j]!;
    correct += sent[j] ? server[i]! : edge[i]!;
    money += sent[j] ? cost[i]! : 0;
  }
  // An accuracy may be out of reach without what is not worth sending; a share or a cost is no more than allowed.
  const neutral = target.kind === 'accuracy' ? undefined : signalNamed(last).neutral;
  const least = neutral === undefined ? undefined : signOf(last) * neutral;
  let chosen: (Omit<Solution, 'cuts'> & { at: number }) | null = null;
  for (let at = 0; at <= n; at++) {
    // Records with equal suspicion go together.
    if (at === 0 || at === n || suspicion[order[at]!]! < suspicion[order[at - 1]!]!) {
      const outcome = { share: routed / n, accuracy: correct / n, costPer1000: (1000 * money) / n };
      const attained = meets(outcome, target);
      const isNearest = target.kind === 'accuracy' && (chosen === null || outcome.accuracy > chosen.accuracy);
      if (attained || isNearest) chosen = { at, ...outcome, attained };
      // The first place that reaches an accuracy has the smallest share; share and cost only rise from the first that is too much.
      if (attained === (target.kind === 'accuracy')) break;
    }
    if (at === n) continue;
    if (least !== undefined && suspicion[order[at]!]! <= least) break;
    if (sent[at]) continue;
    const i = order[at]!;
    routed++;
    correct += server[i]! - edge[i]!;
    money += cost[i]!;
  }
  if (chosen === null) return null;
  const { at, ...found } = chosen;
  const value = (j: number) => (j < 0 || j >= n ? undefined : suspicion[order[j]!]!);
  const kept = value(at);
  // The last that is sent may be the last that is worth it: the cut is not to lie beyond.
  const low = least === undefined || kept === undefined ? kept : Math.max(kept, least);
  const cuts = at === 0 ? earlier : { ...earlier, [last]: cutBetween(last, low, value(at - 1)) };
  return { cuts, ...found };
}

export function meets(outcome: Outcome, { kind, value }: Target): boolean {
  switch (kind) {
    case 'share':
      return outcome.share <= value + TOLERANCE;
    case 'cost':
      return outcome.costPer1000 <= value * (1 + TOLERANCE);
    case 'accuracy':
      return outcome.accuracy >= value - TOLERANCE;
  }
}

/** For a share or a cost: what is gained over sending as many queries at random. For an accuracy: the smaller share. */
function isBetter(a: Solution, b: Solution, target: Target, gap: number): boolean {
  if (target.kind !== 'accuracy') return a.accuracy - a.share * gap > b.accuracy - b.share * gap + TOLERANCE;
  if (a.attained !== b.attained) return a.attained;
  if (!a.attained) return a.accuracy > b.accuracy + TOLERANCE;
  return a.share < b.share - TOLERANCE || (a.share <= b.share && a.accuracy > b.accuracy + TOLERANCE);
}

/** For sorting; unlike `b - a` it also orders infinities. */
function descending(a: number, b: number): number {
  return a === b ? 0 : a > b ? -1 : 1;
}
