/**
 * The report as one HTML page that needs nothing else: no script, no request, no font. It can be mailed, opened from a disk,
 * or put beside the run. Its policy forbids scripts and requests, so that even a mistake here could not run anything.
 */

import type { Interval } from '../../../core/stats.js';
import { compareReferences, isCrayon, isReference, SERVER, strategyTitle } from '../../strategies/index.js';
import { type Comparison, compareTables } from '../compare.js';
import { atHeadline, type HybridRow, headline, oracleRecovered, signalTitle } from '../hybrid.js';
import type { ReliabilityRow } from '../reliability.js';
import type { CoefficientMap, Report } from '../report.js';
import type { StrategyRow } from '../strategies.js';
import { type ReportTable, when } from '../table.js';
import { facts, reportTables } from '../tables.js';
import { hybridGroups, hybridSummaryTables, hybridTables, reliabilityOf } from '../tables-hybrid.js';
import { accuracyTables, kindsOf, userColumns, userRows, userTables } from '../tables-strategies.js';
import * as words from '../words.js';
import { shape } from './axis.js';
import { html, type Markup, NOTHING } from './markup.js';
import {
  clusterPlot,
  curveNames,
  curvePlot,
  curvePools,
  drawnPoints,
  heatPlot,
  type IntervalRow,
  intervalPlot,
  latencyPlot,
  lossPlot,
  taskMarks,
  taskShape,
} from './plots.js';
import { reliabilityPlots } from './reliability-plot.js';
import { STYLE } from './style.js';

/** @param comparison with another run, put after the strategies */
export function reportHtml(report: Report, comparison: Comparison | null = null): string {
  const sections = sectionsOf(report, comparison);
  const { manifest, name } = report;
  const body = html`<header><h1><span>crayon</span> bench: ${name}</h1>${lead(report)}${report.remarks.map((remark) => html`<p class="remark">${remark}</p>`)}<nav aria-label="Sections">${sections.map(({ id, title }) => html`<a href="#${id}">${title}</a>`)}</nav>${tiles(report)}</header><main>${sections.map(
    ({ id, title, content }) => html`<section id="${id}"><h2>${title}</h2>${content}</section>`,
  )}<footer>${manifest.createdBy}, run started ${manifest.started}</footer></main>`;
  const head = html`<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'"><title>crayon bench: ${name}</title>`;
  return `<!doctype html>\n<html lang="en"><head>${head.text}<style>${STYLE}</style></head><body>${body.text}</body></html>\n`;
}

function lead({ manifest: { base, server, pool, machine } }: Report): Markup {
  const parts = [
    base.name,
    ...when(pool !== null, `pool of ${pool?.N} base LoRAs`),
    ...when(server !== null, `server ${server?.name}`),
  ];
  return html`<p class="lead">${parts.join(' · ')}<br>${machine}</p>`;
}

/** In reading order; one without content is left out. */
function sectionsOf(report: Report, comparison: Comparison | null) {
  const section = (id: string, title: string, ...content: Markup[]) => ({ id, title, content });
  const tables = new Map(reportTables(report).map((table) => [table.id, table]));
  return [
    section('strategies', 'Accuracy by strategy', ...strategyContent(report)),
    section('comparison', 'Comparison', ...comparedContent(comparison)),
    section('hybrid', 'Hybrid: accuracy against server share', ...hybridContent(report)),
    section('routed', 'Hybrid as it was routed', tableHtml(tables.get('routed'))),
    section('users', 'Each user', ...userContent(report)),
    section('costs', 'What it costs', tableHtml(tables.get('costs'))),
    section('latency', 'Latency', latencyFigure(report)),
    section('ablation', 'Ablation, one option at a time', tableHtml(tables.get('ablation'))),
    section('conditions', 'Devices and networks', tableHtml(tables.get('conditions'))),
    section('load', 'Load', tableHtml(tables.get('load')), captioned(tables.get('load-times'))),
    section('coefficients', 'Coefficients of the blends', ...coefficientContent(report)),
    section('curves', 'Training of the pools', lossFigure(report), tableHtml(tables.get('curves'))),
    section('clusters', "Map of the pool's clusters", clusterFigure(report)),
    section('run', 'The run', ...aboutRun(report)),
  ].filter(({ content }) => content.some(({ text }) => text !== ''));
}

function folded(summary: string, ...content: Markup[]): Markup {
  return html`<details><summary>${summary}</summary>${content}</details>`;
}

/** A picture and its tables for each method of scoring. */
function strategyContent(report: Report): Markup[] {
  return report.methods.flatMap((method) => {
    const rows = report.strategies.filter((row) => row.method === method);
    const [accuracy, ...others] = accuracyTables(report).filter(({ id }) => id.endsWith(`-${method}`));
    if (accuracy === undefined) return [];
    const title = report.methods.length > 1 ? html`<h3>${accuracy.title}</h3>` : NOTHING;
    const tables = others.map((table) =>
      table.id === `margins-${method}` ? folded(table.title, tableHtml(table)) : captioned(table),
    );
    return [title, accuracyFigure(rows), tableHtml(accuracy), ...tables];
  });
}

function comparedContent(comparison: Comparison | null): Markup[] {
  if (comparison === null) return [];
  const [strategies, ...others] = compareTables(comparison);
  const users = others.find(({ id }) => id === 'compared-users');
  const hybrid = others.find(({ id }) => id === 'compared-hybrid');
  return [captioned(strategies), captioned(hybrid), folded('User by user', captioned(users))];
}

function userContent(report: Report): Markup[] {
  if (report.users.length < 2 || report.strategies.length === 0) return [];
  const tables = userTables(report).map(captioned);
  return [userFigure(report), folded('The same as tables, with intervals and tasks', ...tables)];
}

/** Crayon's in full, those of the strategies beside it folded. */
function coefficientContent({ coefficients, clusterTasks, seeds }: Report): Markup[] {
  const draw = (maps: typeof coefficients) => maps.map((map) => coefficientFigure(map, clusterTasks));
  const first = seeds.length > 1 ? [what(`Those of seed ${seeds[0]}: every seed has clusters of its own.`)] : [];
  const crayons = coefficients.filter(({ strategy }) => isCrayon(strategy));
  const others = coefficients.filter(({ strategy }) => !isCrayon(strategy));
  if (coefficients.length === 0) return [];
  if (crayons.length === 0 || others.length === 0) return [...first, ...draw(coefficients)];
  return [...first, ...draw(crayons), folded('Other strategies', ...draw(others))];
}

/** The summaries, then Crayon's fixed blend and its per-query gate by the main method; what is beside them is folded. */
function hybridContent(report: Report): Markup[] {
  const groups = hybridGroups(report);
  if (groups.length === 0) return (report.hybrid?.remarks ?? []).map((remark) => html`<p class="what">${remark}</p>`);
  const numbers = hybridTables(report);
  const drawn = groups.map((rows, i) => {
    const { edgeStrategy, method } = rows[0]!;
    const name = `${words.withMethod(rows[0]!, report.methods)} on the device`;
    const pictures = [hybridFigure(rows), reliabilityFigure(reliabilityOf(report, rows))];
    const isOpen = i === 0 || (isCrayon(edgeStrategy) && method === report.methods[0]);
    if (!isOpen) return folded(name, ...pictures, ...numbers[i]!.map(captioned));
    const [drawnToo, others] = [true, false].map((are) => numbers[i]!.filter(({ id }) => OF_PICTURES.test(id) === are));
    return html`<h3>${name}</h3>${pictures}${others!.map(captioned)}${folded('The pictures as tables, at other shares too', ...drawnToo!.map(captioned))}`;
  });
  return [...hybridSummaryTables(report).map(captioned), ...drawn];
}

/** Tables that have the numbers of a picture. */
const OF_PICTURES = /^(hybrid|recovered|reliability)-/;

function aboutRun(report: Report): Markup[] {
  const rows = facts(report).map(([name, value]) => html`<dt>${name}</dt><dd>${value}</dd>`);
  const config = JSON.stringify(report.manifest.config, null, 2) ?? '';
  // Line by line: a line break is the one control character that belongs here.
  const lines = config.split('\n').map((line, i) => html`${i === 0 ? '' : NEWLINE}${words.visible(line)}`);
  return [html`<dl>${rows}</dl>`, folded('Configuration', html`<pre>${lines}</pre>`)];
}

const NEWLINE: Markup = html`
`;

function captioned(table: ReportTable | undefined): Markup {
  return table === undefined ? NOTHING : html`<h3>${table.title}</h3>${tableHtml(table)}`;
}

function tableHtml(table: ReportTable | undefined): Markup {
  if (table === undefined) return NOTHING;
  const { title, head, align, rows, notes } = table;
  const number = (i: number) => (align[i] === 'right' ? 'number' : '');
  return html`<div class="scroll"><table aria-label="${title}"><thead><tr>${head.map((name, i) => html`<th scope="col" class="${number(i)}">${name}</th>`)}</tr></thead><tbody>${rows.map(
    ({ cells, strong, clear }) =>
      html`<tr class="${strong ? 'strong' : ''}">${cells.map((cell, i) =>
        i === 0
          ? html`<th scope="row" title="${cell}">${cell}</th>`
          : html`<td class="${[number(i), clear.includes(i) ? 'clear' : ''].join(' ').trim()}">${cell}</td>`,
      )}</tr>`,
  )}</tbody></table></div><div class="notes">${notes.map((note) => html`<p>${note}</p>`)}</div>`;
}

/** The figures that a reader wants first: Crayon's accuracy and its margins, and what the hybrid recovers; what the run does not have is left out. */
function tiles(report: Report): Markup {
  const all = [...crayonTiles(report), ...hybridTiles(report)];
  return all.length === 0 ? NOTHING : html`<div class="tiles">${all}</div>`;
}

function tile(name: string, value: Interval, unit: string, text: (x: number) => string, ...below: string[]): Markup {
  const ranges = [`95 %: ${text(value.low)} to ${text(value.high)}`, ...below];
  return html`<div class="tile"><div class="name">${name}</div><div class="figure">${text(value.estimate)} <small>${unit}</small></div>${ranges.map((range) => html`<div class="range">${range}</div>`)}</div>`;
}

function crayonTiles({ strategies, methods }: Report): Markup[] {
  // Of several methods the one with the most cells: two of each figure would be two different ones.
  const row = strategies.find(({ strategy, method }) => strategy === 'crayon' && method === methods[0]);
  if (row === undefined) return [];
  const title = words.withMethod(row, methods);
  const references = row.differences.toSorted((a, b) => compareReferences(a.reference, b.reference));
  // One LoRA of the same rank and LoraHub: the two margins that the paper gives.
  const shown = references.filter(({ reference }) => reference === 'one-lora' || reference === 'lorahub');
  return [
    tile(
      `${title}, mean of ${words.plural(row.accuracy.users, 'user')}, ${words.plural(row.accuracy.seeds, 'seed')}`,
      row.accuracy,
      'points',
      words.points,
    ),
    ...(shown.length > 0 ? shown : references.slice(0, 2)).map(({ reference, difference }) =>
      tile(`${title} over ${strategyTitle(reference)}`, difference, 'points', words.signedPoints),
    ),
  ];
}

/** One for Crayon's fixed blend and one for its per-query gate; where neither was run, one for what there is. */
function hybridTiles(report: Report): Markup[] {
  const groups = hybridGroups(report);
  const main = groups.filter(([row]) => isCrayon(row!.edgeStrategy) && row!.method === report.methods[0]);
  return (main.length > 0 ? main : groups.slice(0, 1)).flatMap((rows) => {
    const row = headline(rows);
    if (row.curve.apgr === null) return [];
    const at = atHeadline(row);
    const plain = rows.find(({ signal }) => signal === 'confidence');
    const others = [
      plain === undefined || plain === row
        ? ''
        : `confidence alone ${words.wholePercent(atHeadline(plain).recovered.estimate)}, `,
      `random ${words.wholePercent(at.share)}, oracle ${words.wholePercent(oracleRecovered(row.intervals, at))}`,
    ];
    return tile(
      `${row.title}, ${signalTitle(row.signal)}: gap to the server recovered at ${words.percent(at.share)} server share`,
      at.recovered,
      '%',
      words.wholePercent,
      others.join(''),
      `${words.signedInterval(at.overRandom)} points over random`,
    );
  });
}

/** Sentences above a picture, those that do not apply being empty. */
const what = (...sentences: string[]): Markup =>
  html`<p class="what">${sentences.filter((text) => text !== '').join(' ')}</p>`;

/** What the marks of a picture stand for. */
function legend(entries: ReadonlyArray<{ mark: Markup; text: string }>): Markup {
  return html`<ul class="marks">${entries.map(
    ({ mark, text }) => html`<li><svg viewBox="-13 -7 26 14" aria-hidden="true">${mark}</svg>${text}</li>`,
  )}</ul>`;
}

/** Rows of one method only: their means may stand on one axis. */
function accuracyFigure(rows: readonly StrategyRow[]): Markup {
  const kinds = kindsOf(rows);
  const several = kinds.length > 1;
  const users = Math.max(...rows.map((row) => row.accuracy.users));
  const marks = rows.map((row): IntervalRow => {
    const fewer = row.accuracy.users < users ? `, ${words.plural(row.accuracy.users, 'user')}` : '';
    const parts = kinds.flatMap((kind, i) => {
      const mean = row.byKind[kind];
      return mean === undefined ? [] : [{ kind: i, value: mean.estimate, label: words.KIND_TITLES[kind] }];
    });
    const seeds = row.bySeed.length > 1 ? row.bySeed : [];
    return { label: row.title + fewer, value: row.accuracy, role: roleOf(row), parts: several ? parts : [], seeds };
  });
  const says = what(
    `${words.basis(rows.map((row) => row.accuracy))}.`,
    `Mean over users with its 95 % interval${several ? '; small marks are the means for each kind of user' : ''}.`,
    marks.some(({ seeds }) => seeds.length > 0) ? 'Strokes across it are the means at each seed.' : '',
    `Judged by ${words.METHOD_TITLES[rows[0]!.method]}.`,
  );
  const parts = kinds.map((kind, i) => ({ mark: shape(i, 'part'), text: words.KIND_TITLES[kind] }));
  return html`${says}${several ? legend(parts) : NOTHING}${intervalPlot(marks)}`;
}

function roleOf({ strategy }: StrategyRow): IntervalRow['role'] {
  if (isCrayon(strategy)) return 'crayon';
  if (strategy === SERVER) return 'server';
  return isReference(strategy) ? 'reference' : 'other';
}

function hybridFigure(rows: readonly HybridRow[]): Markup {
  const { curve, users, title } = rows[0]!;
  const says = what(
    `${title} on the device; ${words.plural(users, 'user')}, ${words.plural(curve.examples, 'test example')}.`,
    `Queries go to the server in the order of a routing signal; bars are the 95 % intervals of “${signalTitle(headline(rows).signal)}”.`,
    curve.apgr === null ? 'The server is no better, so there is no gap to recover.' : '',
  );
  const names = curveNames(rows).map(({ className, text }) => ({
    mark: html`<path class="curve ${className}" d="M-13 0H13"/>`,
    text,
  }));
  return html`${says}${legend(names)}${curvePlot(rows)}`;
}

/** Before and after: the confidence as it is, and the rules that have a curve too. */
function reliabilityFigure(all: readonly ReliabilityRow[]): Markup {
  const drawn = DRAWN_PROBABILITIES.flatMap((name) => all.filter((row) => row.name === name));
  if (drawn.length === 0) return NOTHING;
  const bins = drawn.flatMap((row) => row.bins.map(({ answers }) => answers));
  const [least, most] = [Math.min(...bins), Math.max(...bins)];
  const size = least === most ? words.count(most) : `${words.count(least)} to ${words.count(most)}`;
  const says = what(
    `The device's probability of a right answer, predicted and seen: a dot for each bin of ${size} answers, with the exact 95 % interval of its share of right ones; below the diagonal the device is less often right than it is said to be.`,
  );
  return html`<h3>Whether the probabilities can be believed</h3>${says}${reliabilityPlots(drawn)}`;
}

const DRAWN_PROBABILITIES = ['raw', 'calibrated', 'isotonic', 'calibrated-rates'];

function latencyFigure({ latency, users }: Report): Markup {
  if (latency.length === 0) return NOTHING;
  const answers = latency.reduce((sum, { box }) => sum + (box.count ?? 0), 0);
  const boxes = latency.some(({ box }) => box.lower !== null);
  const summaries = latency.some(({ box }) => box.lower === null);
  const says = what(
    answers > 0 ? `${words.plural(answers, 'answer')}, each timed by itself.` : '',
    boxes ? 'Box: the middle half, with the median; line: 5 to 95 %; dot: 99 %.' : '',
    summaries
      ? `${boxes ? 'Without a box: m' : 'M'}eans over users of answers timed one at a time; bar: median; line: to 95 %; dot: 99 %.`
      : '',
    `${words.plural(users.length, 'user')}. The figure is the median.`,
    latency.some(({ source }) => source === 'in_cloud') ? 'Blue: answered by the server.' : '',
  );
  return html`${says}${latencyPlot(latency)}`;
}

function coefficientFigure({ title, users, values }: CoefficientMap, clusterTasks: readonly string[]): Markup {
  const N = Math.max(...values.map((row) => row.length));
  const columns = Array.from({ length: N }, (_, n) => `${n} ${clusterTasks[n] ?? ''}`.trim());
  const full = Math.max(...values.flat().map(Math.abs), 1e-9);
  const map = { label: `Coefficients of ${title}`, rows: users, columns, values, full, text: coefficient };
  return html`<h3>${title}</h3>${heatPlot(map)}`;
}

/** -0.25 -> "−.25" */
function coefficient(x: number): string {
  const text = x
    .toFixed(2)
    .replace('-', '−')
    .replace(/^(−?)0\./, '$1.');
  return text === '−.00' ? '.00' : text;
}

/** Users down, strategies across. */
function userFigure(report: Report): Markup {
  const rows = userRows(report);
  const map = {
    label: 'Accuracy of each user by strategy',
    rows: rows.map((row) => row.title),
    groups: rows.map((row) => words.KIND_TITLES[row.user.kind]),
    columns: userColumns(report).map((column) => column.title),
    values: rows.map((row) => row.accuracies.map((accuracy) => accuracy?.estimate ?? Number.NaN)),
    full: 1,
    text: (x: number) => (100 * x).toFixed(0),
  };
  const basis = words.basis(report.strategies.map(({ accuracy }) => accuracy));
  return html`${what(`${basis}. Points of accuracy; strategies in the order of their means.`)}${heatPlot(map)}`;
}

function lossFigure({ curves }: Report): Markup {
  const { drawn, left } = curvePools(curves);
  if (drawn.length === 0) return NOTHING;
  const seeds = new Set(curves.map(({ seed }) => seed)).size;
  const says = what(
    `Loss of the training batches; ${seeds > 1 ? 'a line for each seed' : '1 seed'}.`,
    left.length > 0 ? `Only in the table: ${left.join('; ')}.` : '',
  );
  const names = drawn.map((text, i) => ({ mark: html`<path class="curve loss l${i}" d="M-13 0H13"/>`, text }));
  return html`${says}${legend(names)}${lossPlot(curves)}`;
}

function clusterFigure({ clusters }: Report): Markup {
  if (clusters === null) return NOTHING;
  const drawn = drawnPoints(clusters).length;
  const total = clusters.points.length;
  const some = drawn < total ? `, ${words.count(drawn)} of them drawn` : '';
  const says = what(
    `${words.plural(total, 'training example')}${some}, ${words.plural(clusters.centroids.length, 'centroid')}: principal components of the embeddings.`,
    'What is far apart here is far apart; what is near may not be near.',
  );
  const tasks = taskMarks(clusters).map((mark) => ({
    mark: taskShape(mark),
    text: `${words.short(mark.task, 60)} (${words.count(mark.points)})`,
  }));
  return html`${says}${clusterPlot(clusters)}${legend(tasks)}`;
}
