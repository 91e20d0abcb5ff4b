/**
 * Accuracy against server share, on held-out folds: the result to show of a router, beside sending queries at random and
 * the oracle that knows both answers. Summarised as in RouteLLM (Ong et al. 2024, arXiv 2406.18665): PGR is the part of the
 * gap between device and server that is recovered at a share, APGR its average over shares, here the area under the curve;
 * random routing has one half.
 */

import { bootstrap, type Interval, meanAt } from '../../core/stats.js';
import type { CalibrationData } from './data.js';
import { type Combination, heldOutFolds, heldOutRouting } from './fit.js';
import { areaRecovered, gainAt, oracleOf } from './hybrid-curve.js';
import { outcomeOf } from './rule.js';

export interface CurvePoint {
  /** share that the cuts were chosen for on the other folds, and the one that came out on the held-out ones */
  targetShare: number;
  share: number;
  accuracy: Interval;
  /** expected accuracy of sending the same share at random: exact */
  random: number;
  /** the most that any choice of that share could reach */
  oracle: number;
  costPer1000: number;
}

export interface Curve {
  points: CurvePoint[];
  /** null where the server is no more accurate than the device, so that there is no gap to recover */
  apgr: Interval | null;
  oracleApgr: number | null;
}

export interface CurveOptions {
  seed: number;
  resamples: number;
  level: number;
}

/** Shares that cuts are chosen for; 0 and 1 are the sources alone. */
const SHARES = Array.from({ length: 21 }, (_, i) => i / 20);

/**
 * The curve of a rule of these signals.
 *
 * @param folds for each record the fold in which it is held out: its source is decided by weights and cuts chosen on the others
 */
export function accuracyCurve(
  data: CalibrationData,
  combination: Combination,
  folds: readonly number[][],
  { seed, resamples, level }: CurveOptions,
): Curve {
  const held = heldOutFolds(data, combination, folds);
  const routed = SHARES.map((share) => {
    if (share === 1) return new Uint8Array(data.n).fill(1);
    const signals = share === 0 ? [] : combination.signals;
    return heldOutRouting(held, data.n, signals, { kind: 'share', value: share });
  });
  const all = Array.from({ length: data.n }, (_, i) => i);
  const oracle = oracleOf(all.map((i) => ({ edge: data.edge[i]!, server: data.server[i]! })))(
    new Int32Array(data.n).fill(1),
  );
  const edge = meanAt(data.edge, all);
  const gap = meanAt(data.server, all) - edge;
  const points = SHARES.map((targetShare, k): CurvePoint => {
    const isRouted = (i: number) => routed[k]![i] === 1;
    const { share, costPer1000 } = outcomeOf(data, all, isRouted);
    const accuracy = bootstrap(data.n, (at) => outcomeOf(data, at, isRouted).accuracy, { seed, resamples, level });
    return {
      targetShare,
      share,
      accuracy,
      random: edge + share * gap,
      oracle: edge + gainAt(oracle, share * data.n) / data.n,
      costPer1000,
    };
  });
  if (gap <= 0) return { points, apgr: null, oracleApgr: null };
  return {
    points,
    apgr: bootstrap(data.n, (at) => apgrOf(data, routed, at), { seed, resamples, level }),
    oracleApgr: areaRecovered(oracle, gap),
  };
}

/** Average part of the gap that is recovered, over the records at `indices`. NaN where they leave no gap. */
function apgrOf(data: CalibrationData, routed: readonly Uint8Array[], indices: Int32Array): number {
  const knots = routed.map((flags) => {
    let [sent, gain] = [0, 0];
    for (const i of indices) {
      if (flags[i] === 0) continue;
      sent++;
      gain += data.server[i]! - data.edge[i]!;
    }
    return { sent, gain };
  });
  knots.sort((a, b) => a.sent - b.sent);
  const gap = meanAt(data.server, indices) - meanAt(data.edge, indices);
  const curve = { sent: knots.map(({ sent }) => sent), gain: knots.map(({ gain }) => gain) };
  return areaRecovered(curve, gap) ?? Number.NaN;
}
