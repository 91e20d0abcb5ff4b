/** The tables of hybrid inference: what each way of routing recovers, at one share and at all of them. */

import { groupBy } from '../../core/stats.js';
import type { SharePoint } from '../../routing/calibrate/hybrid-curve.js';
import { isCrayon, strategyTitle } from '../strategies/index.js';
import { FOLDS, type HybridRow, oracleRecovered, ROUTING_SIGNALS, type RoutingSignal, signalTitle } from './hybrid.js';
import type { Report } from './report.js';
import { difference, figure, type ReportTable, table, text } from './table.js';
import * as words from './words.js';

/** The share that the summary and the tiles speak of. */
const HEADLINE_SHARE = 0.2;

export function atHeadlineShare({ intervals }: HybridRow): SharePoint {
  return intervals.shares.find(({ share }) => share === HEADLINE_SHARE)!;
}

/** Rows of one strategy on the device, judged by one method: they stand in one picture. */
export function hybridGroups({ hybrid }: Report): HybridRow[][] {
  return [...groupBy(hybrid?.rows ?? [], (row) => `${row.edgeStrategy}\n${row.method}`).values()];
}

/**
 * What each way of routing recovers at one share, Crayon's fixed blend and its per-query gate side by side: a table for each
 * method of scoring.
 */
export function hybridSummaryTables({ hybrid, methods, seeds }: Report): ReportTable[] {
  const crayons = (hybrid?.rows ?? []).filter((row) => isCrayon(row.edgeStrategy));
  return [...groupBy(crayons, (row) => row.method)].flatMap(([method, all], i) => {
    const signals = ROUTING_SIGNALS.filter((signal) => all.some((row) => row.signal === signal));
    const columns = [...groupBy(all, (row) => row.edgeStrategy).values()].flatMap((ofEdge) => {
      const point = (signal: RoutingSignal) => ofEdge.filter((row) => row.signal === signal).map(atHeadlineShare)[0];
      const oracle = oracleRecovered(ofEdge[0]!.intervals, atHeadlineShare(ofEdge[0]!));
      return [
        figure(`${ofEdge[0]!.title}: gap recovered`, (signal: RoutingSignal | 'oracle') => {
          if (signal === 'oracle') return percentOrDash(oracle);
          const at = point(signal);
          return at === undefined ? '-' : words.percentInterval(at.recovered);
        }),
        figure('over random', (signal: RoutingSignal | 'oracle') =>
          signal === 'oracle' ? '' : difference(point(signal)?.overRandom),
        ),
      ];
    });
    return table(
      {
        id: `at-share-${method}`,
        title: `Hybrid at ${words.percent(HEADLINE_SHARE)} server share${methods.length > 1 ? ` (${method})` : ''}`,
        notes: i > 0 ? [] : [basisOf(all, seeds), SUMMARY_NOTE, ...calibrationNotes(all)],
      },
      [...signals, 'oracle' as const],
      [text('routed by', (signal) => (signal === 'oracle' ? signal : signalTitle(signal))), ...columns],
    );
  });
}

/** How many queries the rows rest on. */
function basisOf(rows: readonly HybridRow[], { length }: readonly number[]): string {
  return `${words.basis(rows.map(({ users, curve: { examples } }) => ({ users, seeds: length, draws: 1, examples })))}.`;
}

const SUMMARY_NOTE = `${strategyTitle('crayon')} is the fixed blend; ${strategyTitle('per-query')} mixes anew for each query. The gap is server less device, and random routing recovers ${words.percent(HEADLINE_SHARE)} of it; over random in points, paired by example.`;

/** What the calibrated rows mean and what they do not; nothing where there are none. */
function calibrationNotes(rows: readonly HybridRow[]): string[] {
  const notes = {
    calibrated: `Calibrated: the probability that the device's answer is right, by one logistic rule of confidence and scope for all users; each example is scored by a rule that was fitted on the other ${FOLDS - 1} of ${FOLDS} folds, and the intervals do not fit it again. It has seen other examples of the same users.`,
    'calibrated-user':
      'Calibrated per user has an intercept for each user as well: it needs labelled, held-out examples of that user. Two controls: “user alone” has only these intercepts and no signal of the query; “other users” is the one rule, fitted without the user whose queries it routes.',
  };
  return Object.entries(notes).flatMap(([signal, note]) => (rows.some((row) => row.signal === signal) ? [note] : []));
}

/** For each strategy on the device: accuracy at the shares of the table, then what routing adds to chance. */
export function hybridTables(report: Report): ReportTable[][] {
  return hybridGroups(report).map((rows, i) => {
    const { edgeStrategy, method, curve, intervals, users } = rows[0]!;
    const name = words.withMethod(rows[0]!, report.methods);
    const id = `${edgeStrategy}-${method}`;
    const { shares } = intervals;
    const alone = `${name} alone has ${words.interval(intervals.edge)}, the server ${words.interval(intervals.server)}, on ${words.plural(curve.examples, 'example')} of ${words.plural(users, 'user')} at ${words.plural(report.seeds.length, 'seed')}.`;
    type Line = { title: string; apgr: string; at: (i: number) => ReturnType<typeof difference> };
    const titled = text('routed by', ({ title }: Line) => title);
    const atShares = shares.map(({ share }, s) => figure(`${words.percent(share)} server`, ({ at }: Line) => at(s)));
    const line = (title: string, apgr: string, at: Line['at']): Line => ({ title, apgr, at });
    return [
      ...table(
        {
          id: `hybrid-${id}`,
          title: `Hybrid, ${name} on the device: accuracy against server share`,
          notes: [
            curve.apgr === null ? `${alone} There is no gap to recover.` : alone,
            'Points of accuracy with 95 % intervals by bootstrap over test examples (and not over seeds), paired by example; every query counts alike, and one threshold serves all users. What beats random routing stands out.',
            'APGR is the mean over all shares of the recovered part of the gap between device and server: 0.5 is what random routing has. The shares are exact: a threshold that was set on other examples meets its share only nearly.',
            ...calibrationNotes(rows),
            ...(i === 0 ? report.hybrid!.remarks : []),
          ],
        },
        [
          line('random', curve.apgr === null ? '-' : '0.50', (s) => words.interval(shares[s]!.random)),
          ...rows.map((row) =>
            line(signalTitle(row.signal), words.ratioInterval(row.intervals.apgr), (s) => {
              const { routed, overRandom } = row.intervals.shares[s]!;
              return { text: words.interval(routed), clear: overRandom.low > 0 };
            }),
          ),
          line('oracle', words.decimal(curve.oracleApgr, 2), (s) => words.interval(shares[s]!.oracle)),
        ],
        [titled, figure('APGR', ({ apgr }) => apgr), ...atShares],
      ),
      ...table(
        {
          id: `recovered-${id}`,
          title: `Hybrid, ${name} on the device: over random routing, and part of the gap recovered`,
          notes: [
            'Points over random routing, paired by example; the gap is server less device. No router recovers more than the oracle.',
          ],
        },
        [
          ...rows.flatMap(({ signal, intervals: { shares: at } }) => [
            line(`${signalTitle(signal)}: over random`, '', (s) => difference(at[s]!.overRandom)),
            line(`${signalTitle(signal)}: gap recovered`, '', (s) => words.percentInterval(at[s]!.recovered)),
          ]),
          line('oracle: gap recovered', '', (s) => percentOrDash(oracleRecovered(intervals, shares[s]!))),
        ],
        [titled, ...atShares],
      ),
    ];
  });
}

function percentOrDash(part: number): string {
  return Number.isNaN(part) ? '-' : `${words.wholePercent(part)} %`;
}
