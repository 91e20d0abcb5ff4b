/** Pictures of one row for each strategy, its name at the left and its figure at the right: accuracies and latencies. */

import type { Interval } from '../../../core/stats.js';
import { html, type Markup, NOTHING } from '../html/markup.js';
import type { LatencyRow } from '../report.js';
import * as words from '../words.js';
import { accuracyRange, inHundredths, linearScale, logScale, picture, placed, shape, xAxis } from './axis.js';

/** Pixels from row to row: on a phone the name and the figure stand above the mark. */
const STEP = 40;

interface Row {
  className: string;
  label: string;
  figure: string;
  /** when pointed at */
  says: string;
  marks: (y: number) => Markup;
}

function rowPlot(label: string, axis: Markup, rows: readonly Row[], step = STEP): Markup {
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
}

/** Dots with their intervals, in points of accuracy. */
export function intervalPlot(rows: readonly IntervalRow[]): Markup {
  const [low, high] = accuracyRange(
    rows.flatMap(({ value, parts }) => [value.low, value.high, value.estimate, ...parts.map((part) => part.value)]),
  );
  const x = linearScale(low, high, 0, 100, 10);
  return rowPlot(
    'Accuracy by strategy with 95 % intervals',
    xAxis(x, 'accuracy, points (95 % interval)', inHundredths),
    rows.map(({ label, value, role, parts }) => ({
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
        return html`${small}<line class="interval" x1="${x(value.low)}%" x2="${x(value.high)}%" y1="${y}" y2="${y}"/><circle class="dot" cx="${x(value.estimate)}%" cy="${y}" r="5.5"/>`;
      },
    })),
    rows.some(({ parts }) => parts.length > 0) ? STEP + 7 : STEP,
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
