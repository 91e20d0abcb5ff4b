/** A heat map of numbers: users down, clusters or strategies across. */

import { html, type Markup } from '../html/markup.js';
import * as words from '../words.js';
import { type PlotWidth, svg, WIDTH } from './axis.js';

export interface HeatMap {
  label: string;
  rows: string[];
  columns: string[];
  /** NaN where there is none */
  values: number[][];
  /** the value drawn in full colour; negative ones have a colour of their own */
  full: number;
  text: (value: number) => string;
}

/** Narrow pictures number their columns; the caller lists the names below. */
export function heatPlot({ label, rows, columns, values, full, text }: HeatMap, width: PlotWidth): Markup {
  const wide = width === 'wide';
  const left = wide ? 190 : 104;
  const across = Math.min((WIDTH[width] - left - (wide ? 70 : 4)) / columns.length, wide ? 84 : 60);
  const down = wide ? 27 : 24;
  // A heading rises by about 4.3 pixels a letter.
  const longest = Math.max(...columns.map((name) => [...name].length), 1);
  const head = wide ? 22 + 4.3 * Math.min(27, longest) : 24;
  // Two digits need about 22 pixels; in narrower cells the colour must do.
  const numbers = across >= (wide ? 30 : 24);
  const heads = columns.map((name, j) => {
    const x = left + (j + 0.5) * across;
    return wide
      ? html`<text class="column" transform="translate(${x - 3} ${head - 9}) rotate(-36)"><title>${name}</title>${words.short(name, 27)}</text>`
      : html`<text class="column" x="${x}" y="${head - 8}" text-anchor="middle">${String(j)}</text>`;
  });
  const drawn = rows.map((name, i) => {
    const y = head + i * down;
    const cells = columns.map((column, j) => {
      const value = values[i]?.[j] ?? Number.NaN;
      const x = left + j * across;
      if (!Number.isFinite(value))
        return html`<rect class="none" x="${x + 1}" y="${y + 1}" width="${across - 2}" height="${down - 2}" rx="3"/>`;
      const strength = Math.min(1, Math.abs(value) / full);
      const sign = value < 0 ? 'negative' : 'positive';
      const figure = numbers
        ? html`<text class="figure ${strength > 0.78 ? 'high' : strength > 0.5 ? 'middle' : 'low'}" x="${x + across / 2}" y="${y + down / 2 + 4}" text-anchor="middle">${text(value)}</text>`
        : html``;
      return html`<g><title>${name}, ${column}: ${text(value)}</title><rect class="ground" x="${x + 1}" y="${y + 1}" width="${across - 2}" height="${down - 2}" rx="3"/><rect class="${sign}" x="${x + 1}" y="${y + 1}" width="${across - 2}" height="${down - 2}" rx="3" fill-opacity="${strength}"/>${figure}</g>`;
    });
    return html`<text class="label" x="${left - 9}" y="${y + down / 2 + 4.5}" text-anchor="end"><title>${name}</title>${words.short(name, wide ? 26 : 15)}</text>${cells}`;
  });
  return svg(width, head + rows.length * down + 8, label, html`<g class="heat">${heads}${drawn}</g>`);
}
