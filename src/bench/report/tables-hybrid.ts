/** The tables of hybrid inference and of load. */

import { isCrayon, strategyTitle } from '../strategies/names.js';
import type { LatencySummary, LoadCell } from '../types.js';
import { FOLDS } from './calibrated-rule.js';
import { type HybridRow, oracleRecovered, ROUTING_SIGNALS, SIGNAL_TITLES } from './hybrid.js';
import type { SharePoint } from './hybrid-curve.js';
import type { Report } from './report.js';
import { groupBy } from './strategies.js';
import { type ReportTable, table } from './table.js';
import * as words from './words.js';

/** The share that the summary and the tiles speak of. */
export const HEADLINE_SHARE = 0.2;

/**
 * What each way of routing recovers at one share, Crayon's fixed blend and its per-query gate side by side: a table for each
 * method of scoring.
 */
export function hybridSummaryTables(report: Report): ReportTable[] {
  const own = (report.hybrid?.rows ?? []).filter((row) => isCrayon(row.edgeStrategy));
  return [...groupBy(own, (row) => row.method)].map(([method, rows], i) => {
    const edges = [...groupBy(rows, (row) => row.edgeStrategy).values()];
    const signals = ROUTING_SIGNALS.filter((signal) => rows.some((row) => row.signal === signal));
    const cells = signals.map((signal) => edges.map((of) => of.find((row) => row.signal === signal)));
    const share = words.percent(HEADLINE_SHARE);
    return table(
      `at-share-${method}`,
      `Hybrid at ${share} server share${report.methods.length > 1 ? ` (${method})` : ''}`,
      ['routed by', ...edges.flatMap(([row]) => [`${row!.title}: gap recovered`, 'over random'])],
      [
        ...cells.map((across, s) => ({
          cells: [SIGNAL_TITLES[signals[s]!], ...across.flatMap(recoveredAndOver)],
          clear: across.flatMap((row, e) =>
            row !== undefined && words.isClear(atHeadlineShare(row).overRandom) ? [2 + 2 * e] : [],
          ),
        })),
        {
          cells: [
            'oracle',
            ...edges.flatMap(([row]) => [recoveredOrDash(oracleRecovered(row!.intervals, atHeadlineShare(row!))), '']),
          ],
        },
      ],
      { notes: i === 0 ? summaryNotes(rows) : [] },
    );
  });
}

function recoveredAndOver(row: HybridRow | undefined): [string, string] {
  if (row === undefined) return ['-', '-'];
  const { recovered, overRandom } = atHeadlineShare(row);
  return [words.percentInterval(recovered), words.signedInterval(overRandom)];
}

export function atHeadlineShare({ intervals }: HybridRow): SharePoint {
  return intervals.shares.find(({ share }) => share === HEADLINE_SHARE)!;
}

function summaryNotes(rows: readonly HybridRow[]): string[] {
  return [
    `${strategyTitle('crayon')} is the fixed blend; ${strategyTitle('per-query')} mixes anew for each query. The gap is server less device, and random routing recovers ${words.percent(HEADLINE_SHARE)} of it; over random in points, paired by example.`,
    ...calibrationNotes(rows),
  ];
}

/** What the calibrated rows mean and what they do not; nothing where there are none. */
function calibrationNotes(rows: readonly HybridRow[]): string[] {
  const has = (signal: HybridRow['signal']) => rows.some((row) => row.signal === signal);
  const notes: string[] = [];
  if (has('calibrated')) {
    notes.push(
      `Calibrated: the probability that the device's answer is right, by one logistic rule of confidence and scope for all users; each example is scored by a rule that was fitted on the other ${FOLDS - 1} of ${FOLDS} folds, and the intervals do not fit it again. It has seen other examples of the same users.`,
    );
  }
  if (has('calibrated-user')) {
    notes.push(
      'Calibrated per user has an intercept for each user as well: it needs labelled, held-out examples of that user. Two controls: “user alone” has only these intercepts and no signal of the query; “other users” is the one rule, fitted without the user whose queries it routes.',
    );
  }
  return notes;
}

/** For each strategy on the device: accuracy at the shares of the table, then what routing adds to chance. */
export function hybridTables(report: Report): ReportTable[] {
  const { hybrid } = report;
  if (hybrid === null) return [];
  const groups = [...groupBy(hybrid.rows, (row) => `${row.edgeStrategy}\n${row.method}`).values()];
  return groups.flatMap((rows, i) => {
    const { method, edgeStrategy } = rows[0]!;
    const name = edgeName(rows[0]!, report);
    const id = `${edgeStrategy}-${method}`;
    return [shareTable(id, name, rows, i === 0 ? hybrid.remarks : []), recoveredTable(id, name, rows)];
  });
}

/** The strategy on the device, with the method where the run has more than one. */
export function edgeName({ title, method }: HybridRow, { methods }: Report): string {
  return methods.length > 1 ? `${title} (${method})` : title;
}

function shareTable(id: string, name: string, rows: readonly HybridRow[], remarks: string[]): ReportTable {
  const { curve, intervals, users } = rows[0]!;
  const at = intervals.shares;
  const alone = `${name} alone has ${words.interval(intervals.edge)}, the server ${words.interval(intervals.server)}, on ${words.plural(curve.examples, 'example')} of ${words.plural(users, 'user')}.`;
  return table(
    `hybrid-${id}`,
    `Hybrid, ${name} on the device: accuracy against server share`,
    ['routed by', 'APGR', ...at.map(({ share }) => `${words.percent(share)} server`)],
    [
      {
        cells: ['random', curve.apgr === null ? '-' : '0.50', ...at.map((point) => words.interval(point.random))],
      },
      ...rows.map((row) => ({
        cells: [
          SIGNAL_TITLES[row.signal],
          words.ratioInterval(row.intervals.apgr),
          ...row.intervals.shares.map((point) => words.interval(point.routed)),
        ],
        clear: row.intervals.shares.flatMap((point, i) => (point.overRandom.low > 0 ? [i + 2] : [])),
      })),
      { cells: ['oracle', words.decimal(curve.oracleApgr, 2), ...at.map((point) => words.interval(point.oracle))] },
    ],
    {
      notes: [
        curve.apgr === null ? `${alone} There is no gap to recover.` : alone,
        'Points of accuracy with 95 % intervals by bootstrap, paired by example; every query counts alike, and one threshold serves all users. What beats random routing stands out.',
        'APGR is the mean over all shares of the recovered part of the gap between edge and server: 0.5 is what random routing has. The shares are exact: a threshold that was set on other examples meets its share only nearly.',
        ...calibrationNotes(rows),
        ...remarks,
      ],
    },
  );
}

function recoveredTable(id: string, name: string, rows: readonly HybridRow[]): ReportTable {
  const first = rows[0]!.intervals;
  const shares = first.shares.map(({ share }) => share);
  return table(
    `recovered-${id}`,
    `Hybrid, ${name} on the device: over random routing, and part of the gap recovered`,
    ['routed by', ...shares.map((share) => `${words.percent(share)} server`)],
    [
      ...rows.flatMap(({ signal, intervals }) => [
        {
          cells: [
            `${SIGNAL_TITLES[signal]}: over random`,
            ...intervals.shares.map((p) => words.signedInterval(p.overRandom)),
          ],
          clear: intervals.shares.flatMap((p, i) => (words.isClear(p.overRandom) ? [i + 1] : [])),
        },
        {
          cells: [
            `${SIGNAL_TITLES[signal]}: gap recovered`,
            ...intervals.shares.map((p) => words.percentInterval(p.recovered)),
          ],
        },
      ]),
      {
        cells: ['oracle: gap recovered', ...first.shares.map((p) => recoveredOrDash(oracleRecovered(first, p)))],
      },
    ],
    {
      notes: [
        'Points over random routing, paired by example; the gap is server less edge. No router recovers more than the oracle.',
      ],
    },
  );
}

function recoveredOrDash(part: number): string {
  return Number.isNaN(part) ? '-' : `${(100 * part).toFixed(0)} %`;
}

/** Cells that were routed while they ran. */
export function routedTable({ routed }: Report): ReportTable | null {
  if (routed.length === 0) return null;
  return table(
    'routed',
    'Hybrid: as it was routed',
    ['strategy', 'users', 'accuracy', 'server share', 'p50', 'p95', 'per 1,000'],
    routed.map((row) => ({
      cells: [
        row.title,
        String(row.accuracy.users),
        words.interval(row.accuracy),
        words.percent(row.serverShare),
        words.milliseconds(row.latencyP50),
        words.milliseconds(row.latencyP95),
        words.decimal(row.costPer1000, 2),
      ],
    })),
    { notes: ['Measured on a running router, with its thresholds set beforehand.'] },
  );
}

/** What each load pattern got done. */
export function loadTable({ load }: Report): ReportTable | null {
  if (load.length === 0) return null;
  const limits = [...new Set(load.map((cell) => limitsOf(cell.goodputLimits)).filter((text) => text !== ''))];
  const failures = load
    .filter((cell) => cell.failed > 0)
    .map((cell) => {
      const codes = Object.entries(cell.failures).map(([code, n]) => `${code} ${n}`);
      return `${placeOf(cell).join(', ')}: ${words.plural(cell.failed, 'failure')} (${codes.join(', ')}), not among the times.`;
    });
  return table(
    'load',
    'Load',
    ['pattern', 'device', 'network', 'done', 'failed', 'requests/s', 'tokens/s', 'goodput/s', 'server share'],
    load.map((cell) => ({
      cells: [
        ...placeOf(cell),
        words.count(cell.completed),
        words.count(cell.failed),
        words.decimal(cell.requestThroughput, 2),
        words.decimal(cell.outputThroughput, 1),
        words.decimal(cell.goodput, 2),
        words.percent(cell.serverShare),
      ],
    })),
    { words: 3, notes: [...limits.map((text) => `Goodput: requests within ${text}.`), ...failures] },
  );
}

/** Time percentiles of each load pattern, and of each source where both answered. */
export function loadTimesTable({ load }: Report): ReportTable | null {
  const rows = load.flatMap((cell) => {
    const all = Object.keys(cell.e2e);
    const sources = all.length > 2 ? all : all.slice(0, 1); // `all` and one source say the same
    return sources.map((source, i) => ({
      cells: [
        ...(i === 0 ? placeOf(cell) : ['', '', '']),
        source,
        ...[cell.ttft, cell.tpot, cell.itl, cell.e2e].map((times) => percentiles(times[source])),
      ],
    }));
  });
  if (rows.length === 0) return null;
  return table(
    'load-times',
    'Load: times in milliseconds, p50 / p95 / p99',
    ['pattern', 'device', 'network', 'source', 'TTFT', 'TPOT', 'ITL', 'end to end'],
    rows,
    {
      words: 4,
      notes: [
        'TTFT: time to the first token that is not empty; TPOT: time for each token after it; ITL: gap between two tokens.',
      ],
    },
  );
}

function placeOf({ pattern, device, network }: LoadCell): [string, string, string] {
  return [pattern, device, network];
}

function percentiles(summary: LatencySummary | undefined): string {
  if (summary === undefined) return '-';
  return [summary.p50, summary.p95, summary.p99].map((ms) => (ms < 10 ? ms.toFixed(1) : words.count(ms))).join(' / ');
}

function limitsOf(limits: Record<string, number>): string {
  return Object.entries(limits)
    .map(([name, ms]) => `${name} ${words.milliseconds(ms)}`)
    .join(', ');
}
