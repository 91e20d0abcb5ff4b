/** Accuracy against server share: the routed curves, random routing with its spread, the oracle. */

import { html, type Markup } from '../html/markup.js';
import { type HybridRow, headline, isControl, SIGNAL_TITLES } from '../hybrid.js';
import * as words from '../words.js';
import { accuracyRange, linearScale, type PlotWidth, svg, WIDTH, xAxis, yAxis } from './axis.js';

/** Curves of one strategy on the device, without the controls; the headline row carries the intervals. */
export function curvePlot(all: readonly HybridRow[], width: PlotWidth): Markup {
  const wide = width === 'wide';
  const rows = all.filter(({ signal }) => !isControl(signal));
  const { curve, intervals, signal: marked } = headline(rows);
  const entries = [
    ...rows.map((row) => ({
      className: `curve ${row.signal}`,
      text: withApgr(SIGNAL_TITLES[row.signal], row.curve.apgr),
    })),
    { className: 'curve oracle', text: withApgr('oracle', curve.oracleApgr) },
    { className: 'curve random', text: withApgr('random, and 95 % of its outcomes', curve.apgr === null ? null : 0.5) },
  ];
  const perLine = wide ? 3 : 1;
  const legendHeight = Math.ceil(entries.length / perLine) * 21 + 8;
  const frame = {
    left: wide ? 54 : 38,
    right: WIDTH[width] - (wide ? 92 : 12),
    top: legendHeight + 26,
    bottom: legendHeight + 26 + (wide ? 330 : 250),
  };
  const values = [
    ...rows.flatMap((row) => row.curve.points.map((p) => p.routed)),
    ...curve.points.flatMap((p) => [p.random.low, p.random.high, p.oracle]),
    ...intervals.shares.flatMap((p) => [p.routed.low, p.routed.high]),
  ];
  const x = linearScale(0, 1, frame.left, frame.right, wide ? 10 : 5);
  const y = linearScale(...accuracyRange(values), frame.bottom, frame.top, 6);
  const line = (of: (p: (typeof curve.points)[number]) => number, points = curve.points) =>
    points.map((p, i) => `${i === 0 ? 'M' : 'L'}${x(p.share).toFixed(1)} ${y(of(p)).toFixed(1)}`).join('');
  const band = [
    ...curve.points.map((p) => `${x(p.share).toFixed(1)},${y(p.random.low).toFixed(1)}`),
    ...curve.points.toReversed().map((p) => `${x(p.share).toFixed(1)},${y(p.random.high).toFixed(1)}`),
  ].join(' ');
  const levels = [
    { name: 'server', value: curve.server },
    { name: 'edge', value: curve.edge },
  ];
  return svg(
    width,
    frame.bottom + 46,
    'Accuracy against server share',
    html`${legend(entries, frame.left - (wide ? 0 : 26), perLine, wide)}${xAxis(x, frame, 'share of queries that the server answers, %', (t) => (100 * t).toFixed(0))}${yAxis(y, frame, 'accuracy, points', (t) => (100 * t).toFixed(0))}${levels.map(
      ({ name, value }) =>
        html`<line class="level" x1="${frame.left}" x2="${frame.right}" y1="${y(value)}" y2="${y(value)}"/>${
          wide
            ? html`<text class="end" x="${frame.right + 8}" y="${y(value) + 4}">${name} ${words.points(value)}</text>`
            : html`<text class="end" x="${name === 'edge' ? frame.right - 4 : frame.left + 5}" y="${y(value) - 5}" text-anchor="${name === 'edge' ? 'end' : 'start'}">${name} ${words.points(value)}</text>`
        }`,
    )}<polygon class="band" points="${band}"/><path class="curve random" d="${line((p) => p.random.estimate)}"/><path class="curve oracle" d="${line((p) => p.oracle)}"/>${rows
      .toReversed()
      .map(
        (row) => html`<path class="curve ${row.signal}" d="${line((p) => p.routed, row.curve.points)}"/>`,
      )}${intervals.shares.map(
      ({ share, routed, recovered }) =>
        html`<g class="mark ${marked}"><title>${words.percent(share)} server: ${words.interval(routed)}, gap recovered ${words.percentInterval(recovered)}</title><line x1="${x(share)}" x2="${x(share)}" y1="${y(routed.low)}" y2="${y(routed.high)}"/><circle cx="${x(share)}" cy="${y(routed.estimate)}" r="4.5"/></g>`,
    )}`,
  );
}

function withApgr(name: string, apgr: number | null): string {
  return apgr === null ? name : `${name}: APGR ${apgr.toFixed(2)}`;
}

function legend(
  entries: ReadonlyArray<{ className: string; text: string }>,
  left: number,
  perLine: number,
  wide: boolean,
) {
  return html`<g class="legend">${entries.map(({ className, text }, i) => {
    const x = left + (i % perLine) * (wide ? 268 : 0);
    const y = 14 + Math.floor(i / perLine) * 21;
    return html`<path class="${className}" d="M${x} ${y - 4}H${x + 26}"/><text x="${x + 34}" y="${y}">${text}</text>`;
  })}</g>`;
}
