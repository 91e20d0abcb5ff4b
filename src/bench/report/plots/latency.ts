/** Latency distributions: a box for each strategy and source, on a logarithmic axis. */

import { html, type Markup, NOTHING } from '../html/markup.js';
import type { LatencyRow } from '../report.js';
import * as words from '../words.js';
import { logScale, type PlotWidth, svg, WIDTH, xAxis } from './axis.js';

/** Box from p25 to p75 with the median, a line from p5 to p95, a dot at p99; of summaries, the line starts at the median. */
export function latencyPlot(rows: readonly LatencyRow[], width: PlotWidth): Markup {
  const wide = width === 'wide';
  const step = wide ? 31 : 44;
  const head = 8;
  const frame = {
    left: wide ? 234 : 14,
    right: WIDTH[width] - (wide ? 78 : 16),
    top: head,
    bottom: head + rows.length * step + 4,
  };
  // A time that the clock could not tell from zero stands at the left end.
  const positive = rows.flatMap(({ box }) => [box.lower?.p5 ?? box.p50, box.p99]).filter((ms) => ms > 0);
  const low = Math.min(...positive, 1000);
  const high = Math.max(...positive, 1.5 * low);
  const x = logScale(low / 1.15, high * 1.15, frame.left, frame.right, wide ? 9 : 5);
  const at = (ms: number) => x(Math.max(ms, low / 1.15));
  const drawn = rows.map(({ title, source, box }, i) => {
    const y = frame.top + (i + (wide ? 0.52 : 0.68)) * step;
    const half = wide ? 8 : 7;
    const label = words.short(title, wide ? 32 : 34);
    const text = words.milliseconds(box.p50);
    const { lower } = box;
    const quartiles =
      lower === null
        ? NOTHING
        : html`<rect x="${at(lower.p25)}" y="${y - half}" width="${Math.max(1.5, at(lower.p75) - at(lower.p25))}" height="${2 * half}" rx="2.5"/>`;
    const says = `${title}: median ${text}, p95 ${words.milliseconds(box.p95)}, p99 ${words.milliseconds(box.p99)}${box.count === null ? '' : `, ${words.plural(box.count, 'answer')}`}`;
    return html`<g class="box ${source}"><title>${says}</title>${
      wide
        ? html`<text class="label" x="${frame.left - 14}" y="${y + 4.5}" text-anchor="end">${label}</text><text class="value" x="${WIDTH.wide - 8}" y="${y + 4.5}" text-anchor="end">${text}</text>`
        : html`<text class="label" x="${frame.left}" y="${y - 13}">${label}</text><text class="value" x="${frame.right}" y="${y - 13}" text-anchor="end">${text}</text>`
    }<line x1="${at(box.lower?.p5 ?? box.p50)}" x2="${at(box.p95)}" y1="${y}" y2="${y}"/>${quartiles}<line class="${lower === null ? 'alone' : 'median'}" x1="${at(box.p50)}" x2="${at(box.p50)}" y1="${y - half}" y2="${y + half}"/><circle cx="${at(box.p99)}" cy="${y}" r="2.4"/></g>`;
  });
  return svg(
    width,
    frame.bottom + 46,
    'Latency of an answer by strategy',
    html`${xAxis(x, frame, 'time of one answer, ms (logarithmic)', tick)}${drawn}`,
  );
}

function tick(ms: number): string {
  return ms >= 10_000 ? `${ms / 1000}k` : String(ms);
}
