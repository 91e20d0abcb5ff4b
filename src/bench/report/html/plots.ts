/** The report's pictures: rows of strategies, curves over the server share, heat maps, the map of the pool's clusters. */

import { createRandom } from '../../../core/random.js';
import { groupBy, type Interval, mean } from '../../../core/stats.js';
import type { TrainingCurve } from '../../../pool/training-curve.js';
import type { ClusterMap, RunManifest } from '../../types.js';
import { type HybridRow, headline, isControl, signalTitle } from '../hybrid.js';
import type { LatencyRow } from '../report.js';
import * as words from '../words.js';
import { accuracyRange, inHundredths, linearScale, logScale, picture, placed, shape, xAxis, yAxis } from './axis.js';
import { html, type Markup, NOTHING } from './markup.js';

/** Pixels from row to row: on a phone the name and the figure stand above the mark. */
const ROW = 40;

interface Row {
  className: string;
  label: string;
  figure: string;
  /** when pointed at */
  says: string;
  marks: (y: number) => Markup;
}

function rowPlot(label: string, axis: Markup, rows: readonly Row[], step = ROW): Markup {
  const drawn = rows.map((row, i) => {
    const y = (i + 0.6) * step;
    return html`<g class="${row.className}"><title>${row.says}</title><text class="label" y="${y}">${words.short(row.label, 30)}</text><text class="value" x="100%" y="${y}">${row.figure}</text>${row.marks(y)}</g>`;
  });
  return picture('rows', label, html`${axis}${drawn}`, rows.length * step + 4);
}

export interface IntervalRow {
  label: string;
  value: Interval;
  /** CSS class of the mark: what it is, not how it looks */
  role: 'crayon' | 'server' | 'reference' | 'other';
  /** small marks below it, such as the means for each kind of user */
  parts: Array<{ kind: number; value: number; label: string }>;
  /** what the interval is over: the mean at each seed of several, a stroke on the interval */
  seeds: Array<{ seed: number; accuracy: number }>;
}

/** Dots with their intervals, in points of accuracy. */
export function intervalPlot(rows: readonly IntervalRow[]): Markup {
  const [low, high] = accuracyRange(
    rows.flatMap(({ value, parts, seeds }) => [
      ...[value.low, value.high, value.estimate],
      ...parts.map((part) => part.value),
      ...seeds.map(({ accuracy }) => accuracy),
    ]),
  );
  const x = linearScale(low, high, 0, 100, 10);
  return rowPlot(
    'Accuracy by strategy with 95 % intervals',
    xAxis(x, 'accuracy, points (95 % interval)', inHundredths),
    rows.map(({ label, value, role, parts, seeds }) => ({
      className: `row ${role}`,
      label,
      figure: words.points(value.estimate),
      says: `${label}: ${words.interval(value)}`,
      marks: (y) => {
        // Below the dot, so that a small mark never hides a mean.
        const small = parts.map(
          (part) =>
            html`<g><title>${label}, ${part.label}: ${words.points(part.value)}</title>${placed(x(part.value), y + 11, 'px', shape(part.kind, 'part'))}</g>`,
        );
        const strokes = seeds.map(
          ({ seed, accuracy }) =>
            html`<g><title>${label}, seed ${seed}: ${words.points(accuracy)}</title><line class="seed" x1="${x(accuracy)}%" x2="${x(accuracy)}%" y1="${y - 7}" y2="${y + 7}"/></g>`,
        );
        return html`${small}<line class="interval" x1="${x(value.low)}%" x2="${x(value.high)}%" y1="${y}" y2="${y}"/>${strokes}<circle class="dot" cx="${x(value.estimate)}%" cy="${y}" r="5.5"/>`;
      },
    })),
    rows.some(({ parts }) => parts.length > 0) ? ROW + 7 : ROW,
  );
}

/** Box from p25 to p75 with the median, a line from p5 to p95, a dot at p99; of summaries, the line starts at the median. */
export function latencyPlot(rows: readonly LatencyRow[]): Markup {
  // A time that the clock could not tell from zero stands at the left end.
  const positive = rows.flatMap(({ box }) => [box.lower?.p5 ?? box.p50, box.p99]).filter((ms) => ms > 0);
  const low = Math.min(...positive, 1000);
  const high = Math.max(...positive, 1.5 * low);
  const x = logScale(low / 1.15, high * 1.15, 0, 100, 9);
  const at = (ms: number) => x(Math.max(ms, low / 1.15));
  return rowPlot(
    'Latency of an answer by strategy',
    xAxis(x, 'time of one answer, ms (logarithmic)', (ms) => (ms >= 10_000 ? `${ms / 1000}k` : String(ms))),
    rows.map(({ title, source, box: { count, lower, p50, p95, p99 } }) => ({
      className: `box ${source}`,
      label: title,
      figure: words.milliseconds(p50),
      says: `${title}: median ${words.milliseconds(p50)}, p95 ${words.milliseconds(p95)}, p99 ${words.milliseconds(p99)}${count === null ? '' : `, ${words.plural(count, 'answer')}`}`,
      marks: (y) => {
        const [from, to] = lower === null ? [0, 0] : [at(lower.p25), at(lower.p75)];
        const quartiles =
          lower === null
            ? NOTHING
            : html`<rect x="${from}%" y="${y - 8}" width="${Math.max(0.3, to - from)}%" height="16" rx="2.5"/>`;
        return html`<line x1="${at(lower?.p5 ?? p50)}%" x2="${at(p95)}%" y1="${y}" y2="${y}"/>${quartiles}<line class="${lower === null ? 'alone' : 'median'}" x1="${at(p50)}%" x2="${at(p50)}%" y1="${y - 8}" y2="${y + 8}"/><circle cx="${at(p99)}%" cy="${y}" r="2.4"/>`;
      },
    })),
  );
}

const drawn = (rows: readonly HybridRow[]) => rows.filter(({ signal }) => !isControl(signal));

/** Class and name of each curve of `curvePlot`. */
export function curveNames(rows: readonly HybridRow[]): Array<{ className: string; text: string }> {
  const { curve } = headline(rows);
  const withApgr = (name: string, apgr: number | null) => (apgr === null ? name : `${name}: APGR ${apgr.toFixed(2)}`);
  const random = withApgr('random, and 95 % of its outcomes', curve.apgr === null ? null : 0.5);
  return [
    ...drawn(rows).map((row) => ({ className: row.signal, text: withApgr(signalTitle(row.signal), row.curve.apgr) })),
    { className: 'oracle', text: withApgr('oracle', curve.oracleApgr) },
    { className: 'random', text: random },
  ];
}

/** Accuracy against server share: the curves of one strategy on the device, random routing with its spread, the oracle; without the controls; the headline row carries the intervals. */
export function curvePlot(all: readonly HybridRow[]): Markup {
  const rows = drawn(all);
  const { curve, intervals, signal } = headline(rows);
  const values = [
    ...rows.flatMap((row) => row.curve.points.map((p) => p.routed)),
    ...curve.points.flatMap((p) => [p.random.low, p.random.high, p.oracle]),
    ...intervals.shares.flatMap((p) => [p.routed.low, p.routed.high]),
  ];
  const x = linearScale(0, 1, 0, 100, 10);
  const y = linearScale(...accuracyRange(values), 100, 0, 6);
  type Point = (typeof curve.points)[number];
  const places = (points: readonly Point[], of: (p: Point) => number) =>
    points.map((p) => `${x(p.share).toFixed(2)} ${y(of(p)).toFixed(2)}`);
  const line = (className: string, points: readonly Point[], of: (p: Point) => number) =>
    html`<path class="curve ${className}" d="M${places(points, of).join('L')}"/>`;
  const band = [
    ...places(curve.points, (p) => p.random.low),
    ...places(curve.points.toReversed(), (p) => p.random.high),
  ];
  // The curves alone are stretched to the size of the plot area; their strokes are not.
  const curves = html`<svg viewBox="0 0 100 100" preserveAspectRatio="none"><polygon class="band" points="${band.join(' ')}"/>${line('random', curve.points, (p) => p.random.estimate)}${line('oracle', curve.points, (p) => p.oracle)}${rows
    .toReversed()
    .map((row) => line(row.signal, row.curve.points, (p) => p.routed))}</svg>`;
  const level = (name: string, value: number, [at, anchor]: readonly [string, string]) =>
    html`<line class="level" x2="100%" y1="${y(value)}%" y2="${y(value)}%"/><text class="end" x="${at}" y="${y(value)}%" dy="${y(value) < 5 ? 15 : -5}" text-anchor="${anchor}">${name} ${words.points(value)}</text>`;
  const marks = intervals.shares.map(
    ({ share, routed, recovered }) =>
      html`<g class="mark ${signal}"><title>${words.percent(share)} server: ${words.interval(routed)}, gap recovered ${words.percentInterval(recovered)}</title><line x1="${x(share)}%" x2="${x(share)}%" y1="${y(routed.low)}%" y2="${y(routed.high)}%"/><circle cx="${x(share)}%" cy="${y(routed.estimate)}%" r="4.5"/></g>`,
  );
  return picture(
    'plane',
    'Accuracy against server share',
    html`${xAxis(x, 'share of queries that the server answers, %', inHundredths)}${yAxis(y, 'accuracy, points', inHundredths)}${level('server', curve.server, ['1%', 'start'])}${level('device', curve.edge, ['99%', 'end'])}${curves}${marks}`,
  );
}

export interface HeatMap {
  label: string;
  rows: string[];
  /** the group of each row, whose name stands above its first one; none where there is one group */
  groups?: string[];
  columns: string[];
  /** NaN where there is none */
  values: number[][];
  /** the value drawn in full colour; negative ones have a colour of their own */
  full: number;
  text: (value: number) => string;
}

/** Pixels from one user's cells to the next's. */
const DOWN = 26;
/** Percent of the width that the rows' names have. */
const LEFT = 25;
/** A figure of two digits needs so many columns at most: on a wide page, and on a phone, where the colour must do then. */
const MOST_FIGURES = { page: 22, phone: 10 };

/** Numbers in colours: users down, clusters or strategies across. */
export function heatPlot({ label, rows, groups = [], columns, values, full, text }: HeatMap): Markup {
  const across = Math.min((100 - LEFT) / columns.length, 10);
  const at = (column: number) => LEFT + column * across;
  // A heading rises by about 4.3 pixels a letter.
  const head = 22 + 4.3 * Math.min(27, Math.max(...columns.map((name) => [...name].length), 1));
  const heads = columns.map(
    (name, j) =>
      html`<svg x="${at(j + 0.5)}%" y="${head - 9}"><text class="column"><title>${name}</title>${words.short(name, 27)}</text></svg>`,
  );
  const isGrouped = new Set(groups).size > 1;
  let below = head;
  const drawn = rows.map((name, i) => {
    const isFirst = isGrouped && groups[i] !== groups[i - 1];
    const y = below + (isFirst ? DOWN : 0);
    below = y + DOWN;
    const above = isFirst ? html`<text class="group" y="${y - 7}">${groups[i]!}</text>` : NOTHING;
    const cells = columns.map((column, j) => {
      const value = values[i]?.[j] ?? Number.NaN;
      const place = html`x="${at(j)}%" y="${y}" width="${across}%" height="${DOWN}" rx="4"`;
      if (!Number.isFinite(value)) return html`<rect class="none" ${place}/>`;
      const strength = Math.min(1, Math.abs(value) / full);
      const tone = strength > 0.78 ? 'high' : strength > 0.5 ? 'middle' : 'low';
      const figure = html`<text class="figure ${tone}" x="${at(j + 0.5)}%" y="${y + DOWN / 2 + 4}" text-anchor="middle">${text(value)}</text>`;
      return html`<g><title>${name}, ${column}: ${text(value)}</title><rect class="ground" ${place}/><rect class="${value < 0 ? 'negative' : 'positive'}" ${place} fill-opacity="${strength}"/>${columns.length > MOST_FIGURES.page ? '' : figure}</g>`;
    });
    return html`${above}<svg class="label" y="${y}" width="${LEFT - 1}%" height="${DOWN}"><text y="${DOWN / 2 + 4.5}"><title>${name}</title>${words.short(name, 26)}</text></svg>${cells}`;
  });
  const className = columns.length > MOST_FIGURES.phone ? 'heat crowded' : 'heat';
  return picture(className, label, html`${heads}${drawn}`, below + 8);
}

/** Pools that a picture of curves has at most: each has a colour. */
const MOST_CURVES = 8;
/** A batch's loss jumps about; a curve's points are means of so many parts of the training. */
const CURVE_POINTS = 30;

type Curve = NonNullable<RunManifest['curves']>[number];

/** Pools by name, those that are drawn first. */
export function curvePools(curves: readonly Curve[]): { drawn: string[]; left: string[] } {
  const names = [...new Set(curves.filter(({ points }) => points.length > 1).map(({ pool }) => pool))];
  return { drawn: names.slice(0, MOST_CURVES), left: names.slice(MOST_CURVES) };
}

/** How the loss fell in training: a colour for each pool, a line for each seed. */
export function lossPlot(curves: readonly Curve[]): Markup {
  const { drawn: names } = curvePools(curves);
  const lines = curves
    .filter(({ pool }) => names.includes(pool))
    .map(({ points, ...curve }) => ({ ...curve, points: inStretches(points) }));
  const losses = lines.flatMap(({ points }) => points.map(([, loss]) => loss));
  const steps = Math.max(...lines.flatMap(({ points }) => points.map(([step]) => step)));
  const high = Math.max(...losses, 1e-9) * 1.04;
  const x = linearScale(0, steps, 0, 100, 8);
  const y = linearScale(Math.min(0, ...losses), high, 100, 0, 5);
  const paths = lines.map(({ pool, seed, points }) => {
    const places = points.map(([step, loss]) => `${x(step).toFixed(2)} ${y(loss).toFixed(2)}`);
    const says = `${pool}, seed ${seed}: ${words.decimal(points[0]![1])} to ${words.decimal(points.at(-1)![1])}`;
    return html`<g><title>${says}</title><path class="curve loss l${names.indexOf(pool)}" d="M${places.join('L')}"/></g>`;
  });
  return picture(
    'plane',
    'Loss of the training by step',
    html`${xAxis(x, 'training step', (tick) => words.count(tick))}${yAxis(y, 'loss, nats a token', String)}<svg viewBox="0 0 100 100" preserveAspectRatio="none">${paths}</svg>`,
  );
}

function inStretches(points: TrainingCurve): TrainingCurve {
  if (points.length <= CURVE_POINTS) return points;
  return Array.from({ length: CURVE_POINTS }, (_, i) => {
    const at = (k: number) => Math.floor((k * points.length) / CURVE_POINTS);
    const part = points.slice(at(i), at(i + 1));
    return [mean(part.map(([step]) => step)), mean(part.map(([, loss]) => loss))];
  });
}

/** More would make the page heavy and the picture no clearer. */
export const MAX_POINTS = 1500;
const COLOURS = 8;
/** Across and down, as the style sheet has it: one unit is as long across as down, so that distances can be compared. */
const [WIDTH, HEIGHT] = [8, 5];

export interface TaskMark {
  task: string;
  points: number;
  /** colour `task % COLOURS`, shape by the number of times the colours were gone through */
  index: number;
}

/** Every task with its mark, the most frequent first. */
export function taskMarks({ points }: ClusterMap): TaskMark[] {
  return [...groupBy(points, ({ task }) => task)]
    .map(([task, { length }]) => ({ task, points: length }))
    .sort((a, b) => b.points - a.points || (a.task < b.task ? -1 : 1))
    .map((mark, index) => ({ ...mark, index }));
}

/** The same points every time: a seeded draw where there are too many. */
export function drawnPoints({ points }: ClusterMap): ClusterMap['points'] {
  if (points.length <= MAX_POINTS) return points;
  return createRandom(0, 'cluster-map')
    .shuffle([...points])
    .slice(0, MAX_POINTS);
}

export function taskShape({ index }: TaskMark): Markup {
  return shape(Math.floor(index / COLOURS), `task t${index % COLOURS}`);
}

/** Training examples in two dimensions, coloured by task; centroids numbered. */
export function clusterPlot(map: ClusterMap): Markup {
  const points = drawnPoints(map);
  const all = [...points, ...map.centroids];
  const [across, down] = [rangeOf(all.map((p) => p.x)), rangeOf(all.map((p) => p.y))];
  const half = 0.54 * Math.max(across.size / WIDTH, down.size / HEIGHT);
  const x = linearScale(across.middle - half * WIDTH, across.middle + half * WIDTH, 0, 100, 6);
  const y = linearScale(down.middle - half * HEIGHT, down.middle + half * HEIGHT, 100, 0, 5);
  const marks = new Map(taskMarks(map).map((mark) => [mark.task, taskShape(mark)]));
  const text = (tick: number) => String(tick).replace('-', '−');
  return picture(
    'plane map',
    "Map of the pool's clusters",
    html`${xAxis(x, 'first principal component', text)}${yAxis(y, 'second principal component', text)}<g class="points">${points.map(
      (point) => placed(x(point.x), y(point.y), '%', marks.get(point.task)!),
    )}</g><g class="centroids">${map.centroids.map((centroid, n) =>
      placed(
        x(centroid.x),
        y(centroid.y),
        '%',
        html`<g><title>centroid ${n}</title><circle r="11"/><text y="4.5" text-anchor="middle">${n}</text></g>`,
      ),
    )}</g>`,
  );
}

function rangeOf(values: readonly number[]): { middle: number; size: number } {
  const low = values.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY);
  const high = values.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  if (low < high) return { middle: (low + high) / 2, size: high - low };
  return { middle: Number.isFinite(low) ? low : 0, size: 1 };
}
