/** The report's pictures with what they say in words. */

import { isCrayon, isReference, SERVER } from '../../strategies/index.js';
import { type HybridRow, headline, signalTitle } from '../hybrid.js';
import type { CoefficientMap, Report } from '../report.js';
import type { StrategyRow } from '../strategies.js';
import { kindsOf, userColumns, userRows } from '../tables.js';
import * as words from '../words.js';
import { shape } from './axis.js';
import { html, type Markup, NOTHING } from './markup.js';
import {
  clusterPlot,
  curveNames,
  curvePlot,
  drawnPoints,
  heatPlot,
  type IntervalRow,
  intervalPlot,
  latencyPlot,
  taskMarks,
  taskShape,
} from './plots.js';

/** Sentences above a picture, those that do not apply being empty. */
const what = (...sentences: string[]): Markup =>
  html`<p class="what">${sentences.filter((text) => text !== '').join(' ')}</p>`;

/** What the marks of a picture stand for. */
function legend(entries: ReadonlyArray<{ mark: Markup; text: string }>): Markup {
  return html`<ul class="marks">${entries.map(
    ({ mark, text }) => html`<li><svg viewBox="-13 -7 26 14" aria-hidden="true">${mark}</svg>${text}</li>`,
  )}</ul>`;
}

/** How many users and examples a picture rests on. */
function basis(users: number, examples: number): string {
  return `${words.plural(users, 'user')}, ${words.plural(examples, 'test example')}`;
}

/** Rows of one method only: their means may stand on one axis. */
export function accuracyFigure(rows: readonly StrategyRow[]): Markup {
  const kinds = kindsOf(rows);
  const several = kinds.length > 1;
  const users = Math.max(...rows.map((row) => row.accuracy.users));
  const examples = Math.max(...rows.map((row) => row.accuracy.examples));
  const marks = rows.map((row): IntervalRow => {
    const fewer = row.accuracy.users < users ? `, ${words.plural(row.accuracy.users, 'user')}` : '';
    const parts = kinds.flatMap((kind, i) => {
      const mean = row.byKind[kind];
      return mean === undefined ? [] : [{ kind: i, value: mean.estimate, label: words.KIND_TITLES[kind] }];
    });
    return { label: row.title + fewer, value: row.accuracy, role: roleOf(row), parts: several ? parts : [] };
  });
  const says = what(
    `${basis(users, examples)}.`,
    `Mean over users with its 95 % interval${several ? '; small marks are the means for each kind of user' : ''}.`,
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

export function hybridFigure(rows: readonly HybridRow[]): Markup {
  const { curve, users, title } = rows[0]!;
  const says = what(
    `${title} on the device; ${basis(users, curve.examples)}.`,
    `Queries go to the server in the order of a routing signal; bars are the 95 % intervals of “${signalTitle(headline(rows).signal)}”.`,
    curve.apgr === null ? 'The server is no better, so there is no gap to recover.' : '',
  );
  const names = curveNames(rows).map(({ className, text }) => ({
    mark: html`<path class="curve ${className}" d="M-13 0H13"/>`,
    text,
  }));
  return html`${says}${legend(names)}${curvePlot(rows)}`;
}

export function latencyFigure({ latency, users }: Report): Markup {
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

export function coefficientFigure({ title, users, values }: CoefficientMap, clusterTasks: readonly string[]): Markup {
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
export function userFigure(report: Report): Markup {
  const rows = userRows(report);
  const map = {
    label: 'Accuracy of each user by strategy',
    rows: rows.map((row) => row.title),
    columns: userColumns(report).map((column) => column.title),
    values: rows.map((row) => row.accuracies.map((accuracy) => accuracy?.estimate ?? Number.NaN)),
    full: 1,
    text: (x: number) => (100 * x).toFixed(0),
  };
  const users = words.plural(report.users.length, 'user');
  return html`${what(`${users}. Points of accuracy; strategies in the order of their means.`)}${heatPlot(map)}`;
}

export function clusterFigure({ clusters }: Report): Markup {
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
