/** Accuracy against server share: the routed curves, random routing with its spread, the oracle. */

import { html, type Markup } from '../html/markup.js';
import { type HybridRow, headline, isControl, signalTitle } from '../hybrid.js';
import * as words from '../words.js';
import { accuracyRange, inHundredths, linearScale, picture, xAxis, yAxis } from './axis.js';

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

/** Curves of one strategy on the device, without the controls; the headline row carries the intervals. */
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
    html`<line class="level" x2="100%" y1="${y(value)}%" y2="${y(value)}%"/><text class="end" x="${at}" y="${y(value)}%" dy="-5" text-anchor="${anchor}">${name} ${words.points(value)}</text>`;
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
