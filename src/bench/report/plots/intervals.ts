/** Accuracy by strategy: one row each, a dot with its interval. */

import type { Interval } from '../../../core/stats.js';
import { html, type Markup, NOTHING } from '../html/markup.js';
import * as words from '../words.js';
import { accuracyRange, linearScale, type PlotWidth, svg, WIDTH, xAxis } from './axis.js';

export interface IntervalRow {
  label: string;
  value: Interval;
  /** CSS class of the mark: what it is, not how it looks */
  role: 'crayon' | 'server' | 'reference' | 'other';
  /** small marks beside it, such as the means for each kind of user */
  parts: Array<{ kind: number; value: number; label: string }>;
}

const MARK = 3.6;

/** Small marks that differ in shape, for those who do not see the colours. */
export function shape(kind: number, x: number, y: number, className: string): Markup {
  const r = MARK;
  switch (kind % 4) {
    case 0:
      return html`<circle class="${className}" cx="${x}" cy="${y}" r="${r}"/>`;
    case 1:
      return html`<rect class="${className}" x="${x - r}" y="${y - r}" width="${2 * r}" height="${2 * r}"/>`;
    case 2:
      return html`<path class="${className}" d="M${x} ${y - r - 1}L${x + r + 1} ${y + r}H${x - r - 1}Z"/>`;
    default:
      return html`<path class="${className}" d="M${x} ${y - r - 1.5}L${x + r + 1.5} ${y}L${x} ${y + r + 1.5}L${x - r - 1.5} ${y}Z"/>`;
  }
}

/** Dots with intervals, in points of accuracy; `legend` names the kinds of the small marks. */
export function intervalPlot(rows: readonly IntervalRow[], legend: readonly string[], width: PlotWidth): Markup {
  const wide = width === 'wide';
  const hasParts = legend.length > 0;
  const step = (wide ? 29 : 42) + (hasParts ? 7 : 0);
  const below = hasParts ? 11 : 0; // so that a small mark never hides a mean
  const head = hasParts ? (wide ? 34 : 30) : 10;
  const frame = {
    left: wide ? 214 : 14,
    right: WIDTH[width] - (wide ? 62 : 16),
    top: head,
    bottom: head + rows.length * step + 4,
  };
  const [low, high] = accuracyRange(
    rows.flatMap((row) => [row.value.low, row.value.high, row.value.estimate, ...row.parts.map((part) => part.value)]),
  );
  const x = linearScale(low, high, frame.left, frame.right, wide ? 10 : 5);
  const drawn = rows.map((row, i) => {
    const { estimate, low: from, high: to } = row.value;
    const y = frame.top + (i + (wide ? 0.4 : 0.56)) * step;
    const label = words.short(row.label, wide ? 30 : 34);
    const text = words.points(estimate);
    return html`<g class="row ${row.role}"><title>${row.label}: ${words.interval(row.value)}</title>${
      wide
        ? html`<text class="label" x="${frame.left - 14}" y="${y + 4.5}" text-anchor="end">${label}</text><text class="value" x="${WIDTH.wide - 8}" y="${y + 4.5}" text-anchor="end">${text}</text>`
        : html`<text class="label" x="${frame.left}" y="${y - 13}">${label}</text><text class="value" x="${frame.right}" y="${y - 13}" text-anchor="end">${text}</text>`
    }${row.parts.map((part) => html`<g><title>${row.label}, ${part.label}: ${words.points(part.value)}</title>${shape(part.kind, x(part.value), y + below, 'part')}</g>`)}<line class="interval" x1="${x(from)}" x2="${x(to)}" y1="${y}" y2="${y}"/><circle class="dot" cx="${x(estimate)}" cy="${y}" r="5.5"/></g>`;
  });
  return svg(
    width,
    frame.bottom + 46,
    'Accuracy by strategy with 95 % intervals',
    html`${legendOf(legend, wide ? frame.left : 0)}${xAxis(x, frame, 'accuracy, points (95 % interval)', (t) => (100 * t).toFixed(0))}${drawn}`,
  );
}

function legendOf(legend: readonly string[], left: number): Markup {
  if (legend.length === 0) return NOTHING;
  let x = left;
  const items = legend.map((name, i) => {
    const at = x + 6;
    x += 29 + 6.6 * name.length; // letters of 12 pixels are about 6.6 wide
    return html`<g class="row other">${shape(i, at, 12, 'part')}<text x="${at + 9}" y="16">${name}</text></g>`;
  });
  return html`<g class="legend">${items}</g>`;
}
