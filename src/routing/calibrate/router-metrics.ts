/**
 * What sums up a curve of accuracy against server share in the literature's words. All are read off the curve in hindsight; a
 * cut that was set on other queries meets them only nearly.
 *
 * - APGR, the average performance gap recovered, is RouteLLM's (Ong et al. 2024, arXiv 2406.18665): the area between the curve
 *   and the edge's accuracy, divided by the one between server and edge. Random routing has exactly 0.5.
 * - CPT(x %), the call-performance threshold, is RouteLLM's too: the least share of queries to the server that recovers x % of the
 *   gap, interpolated on the curve as its evaluate.py does.
 * - QNC, the quality-neutral cost, is UniRoute's (Jitkrittum et al. 2025, arXiv 2502.08773, section 7): the least cost at which
 *   routing is as accurate as the best single model, relative to what that one costs.
 * - PerfGain and CostSave are LLMRouterBench's (Li et al. 2026, arXiv 2601.07206): the most accurate point of the curve over the best
 *   single model, as a part of its accuracy; and what is saved at the cheapest point that is as accurate as it.
 *
 * A query to the server costs 1, one on the device nothing: the best single model being the server, CostSave is 1 - QNC.
 */

/** Points of a curve that rises from the edge's accuracy: expected gain, in answers, after `sent` queries went to the server. */
export interface Knots {
  sent: number[];
  gain: number[];
}

export const METRICS = ['apgr', 'cpt50', 'cpt80', 'qnc', 'perfGain', 'costSave'] as const;
export type RouterMetric = (typeof METRICS)[number];
/** NaN where it is not defined: APGR and CPT without a gap, QNC and CostSave where the device is the best and costs nothing. */
export type RouterMetrics = Record<RouterMetric, number>;

/** @param edge accuracy of the device alone; `server` of the server alone */
export function routerMetrics(knots: Knots, edge: number, server: number): RouterMetrics {
  const n = knots.sent.at(-1)!;
  const gap = server - edge;
  const best = Math.max(server, edge);
  const at = (part: number) => (gap > 0 ? shareAt(knots, part * gap * n) : Number.NaN);
  const most = knots.gain.reduce((a, b) => Math.max(a, b), 0) / n;
  return {
    apgr: areaRecovered(knots, gap) ?? Number.NaN,
    cpt50: at(0.5),
    cpt80: at(0.8),
    qnc: at(1),
    perfGain: best > 0 ? (edge + most) / best - 1 : Number.NaN,
    costSave: 1 - at(1),
  };
}

/** Those of sending queries at random, by expectation: the straight line. */
export function randomMetrics(edge: number, server: number): RouterMetrics {
  return routerMetrics({ sent: [0, 1], gain: [0, server - edge] }, edge, server);
}

/** The least share at which the curve has this gain, in answers; NaN where it never has. */
function shareAt({ sent, gain }: Knots, wanted: number): number {
  const reached = wanted - 1e-9; // of rounding in a gap times n
  const k = gain.findIndex((g) => g >= reached);
  if (k <= 0) return k === 0 ? 0 : Number.NaN;
  const rise = gain[k]! - gain[k - 1]!;
  const part = Math.min(1, (wanted - gain[k - 1]!) / rise);
  return (sent[k - 1]! + part * (sent[k]! - sent[k - 1]!)) / sent.at(-1)!;
}

/** Mean over all shares of (accuracy - edge) / (server - edge), by the trapezoids between the knots, which is exact. */
export function areaRecovered({ sent, gain }: Knots, gap: number): number | null {
  if (gap <= 0) return null;
  const n = sent.at(-1)!;
  let area = 0;
  for (let k = 1; k < sent.length; k++) area += ((gain[k]! + gain[k - 1]!) / 2) * (sent[k]! - sent[k - 1]!);
  return area / n / n / gap;
}
