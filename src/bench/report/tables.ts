/** What a report says in words: what was measured, then its tables in reading order. */

import { groupBy, mean } from '../../core/stats.js';
import type { TrainingCurve } from '../../pool/training-curve.js';
import { OF_POOL } from '../rates.js';
import { strategyTitle } from '../strategies/index.js';
import type { LatencySummary, LoadCell } from '../types.js';
import type { Report } from './report.js';
import type { OptionRow, StrategyRow } from './strategies.js';
import { type Column, difference, figure, type ReportTable, table, text, when } from './table.js';
import { choiceTable } from './tables-choice.js';
import { hybridSummaryTables, hybridTables } from './tables-hybrid.js';
import { accuracyTables, isStrong, isWide, strategyColumn, userTables } from './tables-strategies.js';
import * as words from './words.js';

/** Name and value of each thing that was measured, on what, and from what: the head of every report. */
export function facts({ manifest, users, seeds, cells }: Report): Array<[string, string]> {
  const { base, server, pool, seed, machine, commit, started, finished, createdBy, plannedCells, rates } = manifest;
  const ended =
    finished === null
      ? 'not finished'
      : `took ${words.milliseconds(Math.max(0, Date.parse(finished) - Date.parse(started)))}`;
  const twelveDigits = commit?.replace(/^([0-9a-f]{12})[0-9a-f]*/, '$1');
  const all: Array<[string, string | null]> = [
    ['On the device', `${base.name}, ${words.count(base.parameters)} parameters`],
    ['Server', server && (server.baseUrl === '' ? server.name : `${server.name} (${server.baseUrl})`)],
    [
      'Pool',
      pool &&
        `${pool.N} base LoRAs of rank ${pool.r}, ${words.count(pool.parameters)} parameters; ${pool.embedding}${pool.centred ? ', centred' : ''}, tau ${pool.tau}`,
    ],
    ...(rates ?? []).map(({ strategy, seed: of, examples, tried, learningRate }): [string, string] => [
      strategy === OF_POOL ? 'The pool' : strategyTitle(strategy),
      `learning rate ${learningRate} at seed ${of}, by the loss on ${examples} held-out examples: ${tried
        .map((one) => `${words.decimal(one.loss)} with ${one.learningRate}`)
        .join(', ')}`,
    ]),
    ['Users', String(users.length)],
    ['Cells', `${cells} of ${plannedCells}`],
    seeds.length > 1 ? ['Seeds', seeds.join(', ')] : ['Seed', String(seed)],
    ['Started', `${started.slice(0, 16).replace('T', ' ')}, ${ended}`],
    ['Machine', machine],
    ['Made by', `${createdBy}${commit === null ? '' : `, commit ${twelveDigits}`}`],
  ];
  return all.filter((fact): fact is [string, string] => fact[1] !== null);
}

/** All tables; those without rows are left out. */
export function reportTables(report: Report): ReportTable[] {
  return [
    accuracyTables(report),
    choiceTable(report),
    costTable(report),
    hybridSummaryTables(report),
    ...hybridTables(report),
    routedTable(report),
    optionTable('ablation', 'Ablation, one option at a time', report.ablation, report),
    optionTable('conditions', 'Devices and networks', report.conditions, report),
    loadTables(report.load),
    userTables(report),
    curveTable(report),
  ].flat();
}

/**
 * What a terminal shows: not the tables of users and kinds, which are as wide as there are strategies or kinds, and of the
 * hybrid ones only those of the first strategy on the device.
 */
export function terminalTables(report: Report): ReportTable[] {
  const others = hybridTables(report).slice(1).flat();
  const left = new Set(others.map(({ id }) => id));
  return reportTables(report).filter(({ id }) => !left.has(id) && !isWide(id));
}

/** What each strategy costs. */
function costTable({ strategies, methods }: Report): ReportTable[] {
  const isPriced = strategies.some((row) => row.costPer1000 !== null);
  const isNormalised = strategies.some((row) => row.accuracyNorm !== null);
  const notes = [
    `${words.basis(strategies.map(({ accuracy }) => accuracy))}.`,
    'Means over users: held-out loss in nats a token; time from the examples to a ready adapter; bytes that leave the device; adapter size and parameters; percentiles of the time of one answer alone.',
  ];
  return table({ id: 'costs', title: 'What it costs', notes, isStrong }, strategies, [
    text('strategy', (row) => words.withMethod(row, methods)),
    figure('loss', (row) => words.decimal(row.loss)),
    ...when(
      isNormalised,
      figure('acc_norm', ({ accuracyNorm }: StrategyRow) => words.points(accuracyNorm)),
    ),
    figure('customise', (row) => words.milliseconds(row.customisationMs)),
    figure('to server', (row) => words.bytes(row.bytesToServer)),
    figure('adapter', (row) => words.bytes(row.adapterBytes)),
    figure('parameters', (row) => words.count(row.adapterParameters)),
    ...timeColumns,
    ...when(isPriced, priceColumn),
  ]);
}

const timeColumns = [
  figure('p50', (row: StrategyRow | OptionRow) => words.milliseconds(row.latencyP50)),
  figure('p95', (row: StrategyRow | OptionRow) => words.milliseconds(row.latencyP95)),
];
const shareColumn = figure('server share', (row: { serverShare: number }) => words.percent(row.serverShare));
const priceColumn = figure('per 1,000', (row: StrategyRow) => words.decimal(row.costPer1000, 2));

/** Cells that were routed while they ran. */
function routedTable({ routed }: Report): ReportTable[] {
  const notes = [
    `${words.basis(routed.map(({ accuracy }) => accuracy))}.`,
    'Measured on a running router, with its thresholds set beforehand.',
  ];
  return table({ id: 'routed', title: 'Hybrid: as it was routed', notes }, routed, [
    strategyColumn,
    figure('users', (row) => String(row.accuracy.users)),
    figure('accuracy', (row) => words.interval(row.accuracy)),
    shareColumn,
    ...timeColumns,
    priceColumn,
  ]);
}

/** Options that are not at their defaults, each next to them: the ablation, and devices and networks. */
function optionTable(id: string, title: string, rows: readonly OptionRow[], report: Report): ReportTable[] {
  const { methods, strategies } = report;
  const defaults = strategies.filter((row) => rows.some((r) => r.strategy === row.strategy && r.method === row.method));
  const notes = [
    `${words.basis(rows.map(({ accuracy }) => accuracy))}.`,
    'Points of accuracy; differences are paired by example, with 95 % intervals.',
    ...defaults.map(
      (row) =>
        `${words.withMethod(row, methods)} at its defaults has ${words.interval(row.accuracy)} and a loss of ${words.decimal(row.loss)}.`,
    ),
  ];
  return table({ id, title, notes }, rows, [
    text('strategy', ({ strategy, method }) => words.withMethod({ title: strategyTitle(strategy), method }, methods)),
    text('option', (row) => row.option),
    text('setting', (row) => row.setting),
    figure('accuracy', (row) => words.interval(row.accuracy)),
    figure('to the defaults', (row) => difference(row.difference)),
    figure('loss', (row) => words.decimal(row.loss)),
    figure('customise', (row) => words.milliseconds(row.customisationMs)),
    ...when<Column<OptionRow>>(
      rows.some((row) => row.serverShare > 0),
      shareColumn,
      ...timeColumns,
    ),
  ]);
}

/** How the pools were trained: the first and the last point of each curve. */
function curveTable({ curves }: Report): ReportTable[] {
  const drawn = curves.filter(({ points }) => points.length > 0);
  const rows = [...groupBy(drawn, ({ pool }) => pool)].map(([pool, ofPool]) => ({ pool, ofPool }));
  type Row = (typeof rows)[number];
  const over = (head: string, of: (points: TrainingCurve) => number, text: (x: number) => string) =>
    figure(head, ({ ofPool }: Row) => {
      const values = ofPool.map(({ points }) => of(points)).sort((a, b) => a - b);
      const [low, high] = [text(values[0]!), text(values.at(-1)!)];
      return low === high ? low : `${text(mean(values))} (${low} to ${high})`;
    });
  const notes = ['Loss of the training batches in nats a token, at its start and end; several seeds: mean and range.'];
  return table({ id: 'curves', title: 'Training of the pools', notes }, rows, [
    text('pool', ({ pool }) => pool),
    figure('seeds', ({ ofPool }) => String(ofPool.length)),
    over('steps', (points) => points.at(-1)![0], words.count),
    over('first loss', (points) => points[0]![1], words.decimal),
    over('last loss', (points) => points.at(-1)![1], words.decimal),
  ]);
}

const placeOf = ({ pattern, device, network }: LoadCell) => [pattern, device, network] as const;
const PLACE = ['pattern', 'device', 'network'];

/** What load tests found. */
export function loadTables(load: readonly LoadCell[]): ReportTable[] {
  return [...loadCountsTable(load), ...loadTimesTable(load)];
}

/** What each load pattern got done. */
function loadCountsTable(load: readonly LoadCell[]): ReportTable[] {
  const limits = new Set(
    load.map(({ goodputLimits }) =>
      Object.entries(goodputLimits)
        .map(([name, ms]) => `${name} ${words.milliseconds(ms)}`)
        .join(', '),
    ),
  );
  const failures = load.filter(({ failed }) => failed > 0);
  const notes = [
    ...[...limits].filter((limit) => limit !== '').map((limit) => `Goodput: requests within ${limit}.`),
    ...failures.map((cell) => {
      const codes = Object.entries(cell.failures).map(([code, n]) => `${code} ${n}`);
      return `${placeOf(cell).join(', ')}: ${words.plural(cell.failed, 'failure')} (${codes.join(', ')}), not among the times.`;
    }),
  ];
  return table({ id: 'load', title: 'Load', notes }, load, [
    ...PLACE.map((name, i) => text(name, (cell: LoadCell) => placeOf(cell)[i]!)),
    figure('done', (cell) => words.count(cell.completed)),
    figure('failed', (cell) => words.count(cell.failed)),
    figure('requests/s', (cell) => words.decimal(cell.requestThroughput, 2)),
    figure('tokens/s', (cell) => words.decimal(cell.outputThroughput, 1)),
    figure('goodput/s', (cell) => words.decimal(cell.goodput, 2)),
    shareColumn,
  ]);
}

/** Time percentiles of each load pattern, and of each source where both answered. */
function loadTimesTable(load: readonly LoadCell[]): ReportTable[] {
  const rows = load.flatMap((cell) => {
    const all = Object.keys(cell.e2e);
    const sources = all.length > 2 ? all : all.slice(0, 1); // `all` and one source say the same
    return sources.map((source, i) => ({ cell, source, place: i === 0 ? placeOf(cell) : ['', '', ''] }));
  });
  const times = { TTFT: 'ttft', TPOT: 'tpot', ITL: 'itl', 'end to end': 'e2e' } as const;
  const notes = [
    'TTFT: time to the first token that is not empty; TPOT: time for each token after it; ITL: gap between two tokens.',
  ];
  return table({ id: 'load-times', title: 'Load: times in milliseconds, p50 / p95 / p99', notes }, rows, [
    ...PLACE.map((name, i) => text(name, ({ place }: (typeof rows)[number]) => place[i]!)),
    text('source', ({ source }) => source),
    ...Object.entries(times).map(([head, key]) =>
      figure(head, ({ cell, source }: (typeof rows)[number]) => percentiles(cell[key][source])),
    ),
  ]);
}

function percentiles(summary: LatencySummary | undefined): string {
  if (summary === undefined) return '-';
  return [summary.p50, summary.p95, summary.p99].map((ms) => (ms < 10 ? ms.toFixed(1) : words.count(ms))).join(' / ');
}
