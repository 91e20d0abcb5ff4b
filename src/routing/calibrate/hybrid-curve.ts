/**
 * What hybrid inference is worth: accuracy against the share of queries that the server answers, computed from answers of
 * both sources to the same examples. Beside it random routing, of which expectation and spread are exact, and the oracle.
 *
 * Queries go to the server in ascending order of a routing score. Queries of equal score cannot be told apart, so among them
 * the choice is random and what is computed is its expectation: every curve is piecewise linear and has no luck in it.
 *
 * The metrics that sum a curve up are router-metrics.ts.
 */

import assert from 'node:assert/strict';
import { type GainCounts, type Interval, percentileInterval, randomGain } from '../../core/stats.js';
import {
  areaRecovered,
  type Knots,
  METRICS,
  type RouterMetric,
  type RouterMetrics,
  routerMetrics,
} from './router-metrics.js';

/** Both sources' judgement of one example: 1 right, 0 wrong. */
export interface Judged {
  edge: number;
  server: number;
}

/** The same, and how much the router wants to keep it on the device (larger: more). */
export interface Routable extends Judged {
  score: number;
}

export interface CurvePoint {
  /** share of queries that the server answers, 0 to 1 */
  share: number;
  routed: number;
  /** expectation of random routing, and the middle 95 % of its outcomes on these examples, exact */
  random: Interval;
  /** the best that at most this share can give */
  oracle: number;
}

export interface HybridCurve {
  examples: number;
  edge: number;
  server: number;
  /** null where the server is no better than the edge: there is no gap to recover */
  apgr: number | null;
  /** of the oracle, the ceiling */
  oracleApgr: number | null;
  /** of the oracle */
  ceiling: RouterMetrics;
  points: CurvePoint[];
}

const CURVE_SHARES: readonly number[] = Array.from({ length: 41 }, (_, i) => i / 40);
const TABLE_SHARES: readonly number[] = [0.1, 0.2, 0.3, 0.4, 0.5];

/** The curve of at least one example. */
export function hybridCurve(items: readonly Routable[], shares: readonly number[] = CURVE_SHARES): HybridCurve {
  const n = items.length;
  assert.ok(n > 0, 'hybridCurve: no examples');
  const once = new Uint16Array(n).fill(1);
  const knots = knotsOf(items, ascendingByScore(items), once);
  const oracle = neverFalling(oracleOf(items)(once));
  const counts = countGains(items);
  const edge = items.reduce((sum, item) => sum + item.edge, 0) / n;
  const server = items.reduce((sum, item) => sum + item.server, 0) / n;
  return {
    examples: n,
    edge,
    server,
    apgr: areaRecovered(knots, server - edge),
    oracleApgr: areaRecovered(oracle, server - edge),
    ceiling: routerMetrics(oracle, edge, server),
    points: shares.map((share) => {
      const spread = randomGain(counts, share * n, 0.95);
      return {
        share,
        routed: edge + gainAt(knots, share * n) / n,
        random: {
          estimate: edge + share * (server - edge),
          low: edge + spread.low / n,
          high: edge + spread.high / n,
        },
        oracle: edge + gainAt(oracle, share * n) / n,
      };
    }),
  };
}

/**
 * What a share is judged by, with intervals by bootstrap, paired by example. `overRandom` is routed - random, `recovered`
 * (routed - edge) / (server - edge), NaN where there is no gap; `ofOracle` is the gain as a part of the oracle's, NaN where that
 * is none.
 */
const JUDGED_BY = ['routed', 'random', 'oracle', 'overRandom', 'recovered', 'ofOracle'] as const;

export type SharePoint = { share: number } & Record<(typeof JUDGED_BY)[number], Interval>;

export interface HybridIntervals extends Record<RouterMetric, Interval> {
  edge: Interval;
  server: Interval;
  shares: SharePoint[];
}

/**
 * Accuracy at given shares, and the metrics of the curve, with intervals.
 *
 * @param draws how often each item counts in each resample (`nestedWeights`)
 */
export function hybridIntervals(
  items: readonly Routable[],
  draws: readonly Uint16Array[],
  shares: readonly number[] = TABLE_SHARES,
): HybridIntervals {
  const order = ascendingByScore(items);
  const oracleAt = oracleOf(items);
  const statistics = (weights: Uint16Array): number[] => {
    let [n, edge, server] = [0, 0, 0];
    for (let i = 0; i < items.length; i++) {
      n += weights[i]!;
      edge += weights[i]! * items[i]!.edge;
      server += weights[i]! * items[i]!.server;
    }
    edge /= n;
    server /= n;
    const knots = knotsOf(items, order, weights);
    const oracle = neverFalling(oracleAt(weights));
    const metrics = routerMetrics(knots, edge, server);
    const result = [edge, server, ...METRICS.map((name) => metrics[name])];
    for (const share of shares) {
      const gain = gainAt(knots, share * n) / n;
      const best = gainAt(oracle, share * n) / n;
      const random = share * (server - edge);
      const recovered = server > edge ? gain / (server - edge) : Number.NaN;
      // in the order of JUDGED_BY
      result.push(
        edge + gain,
        edge + random,
        edge + best,
        gain - random,
        recovered,
        best > 0 ? gain / best : Number.NaN,
      );
    }
    return result;
  };
  const estimates = statistics(new Uint16Array(items.length).fill(1));
  const resampled = draws.map(statistics);
  const intervals = estimates
    .map((estimate, s) =>
      percentileInterval(
        estimate,
        Float64Array.from(resampled, (values) => values[s]!),
      ),
    )
    .values();
  const next = () => intervals.next().value!;
  const named = <Name extends string>(names: readonly Name[]) =>
    Object.fromEntries(names.map((name) => [name, next()])) as Record<Name, Interval>;
  return {
    ...named(['edge', 'server', ...METRICS]),
    shares: shares.map((share) => ({ share, ...named(JUDGED_BY) })),
  };
}

function ascendingByScore(items: readonly Routable[]): Int32Array {
  assert.ok(
    items.every((item) => !Number.isNaN(item.score)),
    'a routing score is not a number',
  );
  // The index breaks ties, for a sort that depends on nothing but the items.
  return Int32Array.from(items.keys()).sort((i, j) => items[i]!.score - items[j]!.score || i - j);
}

/** One knot at the end of each run of equal scores; within a run the expected gain is linear in the queries sent. */
function knotsOf(items: readonly Routable[], order: Int32Array, weights: Uint16Array): Knots {
  const knots: Knots = { sent: [0], gain: [0] };
  let sent = 0;
  let gain = 0;
  for (let k = 0; k < order.length; k++) {
    const i = order[k]!;
    const { edge, server, score } = items[i]!;
    sent += weights[i]!;
    gain += weights[i]! * (server - edge);
    const next = order[k + 1];
    if (next !== undefined && items[next]!.score === score) continue;
    if (sent === knots.sent.at(-1)) continue; // a run that this draw left out
    knots.sent.push(sent);
    knots.gain.push(gain);
  }
  return knots;
}

/**
 * The curve of the oracle, which knows both answers and sends first where the server helps most. Past what helps it falls
 * again: it must send the given share.
 *
 * @returns the curve of the items, each counted `weights[i]` times
 */
export function oracleOf(items: readonly Judged[]): (weights: Uint16Array) => Knots {
  const scored = items.map(({ edge, server }) => ({ edge, server, score: edge - server }));
  const order = ascendingByScore(scored);
  return (weights) => knotsOf(scored, order, weights);
}

/** That of an oracle that may send less: it stops where more would not help. */
function neverFalling({ sent, gain }: Knots): Knots {
  let most = 0;
  return { sent, gain: gain.map((g) => (most = Math.max(most, g))) };
}

/** Gain where `m` queries are sent. */
export function gainAt({ sent, gain }: Knots, m: number): number {
  let k = 1;
  while (k < sent.length - 1 && sent[k]! < m) k++;
  if (sent.length === 1) return 0;
  const width = sent[k]! - sent[k - 1]!;
  if (width === 0) return gain[k]!;
  return gain[k - 1]! + ((gain[k]! - gain[k - 1]!) * (Math.min(m, sent[k]!) - sent[k - 1]!)) / width;
}

function countGains(items: readonly Routable[]): GainCounts {
  const counts: GainCounts = { better: 0, worse: 0, same: 0 };
  for (const { edge, server } of items) counts[server > edge ? 'better' : server < edge ? 'worse' : 'same']++;
  return counts;
}
