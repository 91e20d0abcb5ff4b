/** A heat map of numbers: users down, clusters or strategies across. */

import { html, type Markup } from '../html/markup.js';
import * as words from '../words.js';
import { picture } from './axis.js';

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

const DOWN = 26;
/** Percent of the width that the rows' names have. */
const LEFT = 25;
/** A figure of two digits needs so many columns at most: on a wide page, and on a phone, where the colour must do then. */
const MOST_FIGURES = { page: 22, phone: 10 };

export function heatPlot({ label, rows, columns, values, full, text }: HeatMap): Markup {
  const across = Math.min((100 - LEFT) / columns.length, 10);
  const at = (column: number) => LEFT + column * across;
  // A heading rises by about 4.3 pixels a letter.
  const head = 22 + 4.3 * Math.min(27, Math.max(...columns.map((name) => [...name].length), 1));
  const heads = columns.map(
    (name, j) =>
      html`<svg x="${at(j + 0.5)}%" y="${head - 9}"><text class="column"><title>${name}</title>${words.short(name, 27)}</text></svg>`,
  );
  const drawn = rows.map((name, i) => {
    const y = head + i * DOWN;
    const cells = columns.map((column, j) => {
      const value = values[i]?.[j] ?? Number.NaN;
      const place = html`x="${at(j)}%" y="${y}" width="${across}%" height="${DOWN}" rx="4"`;
      if (!Number.isFinite(value)) return html`<rect class="none" ${place}/>`;
      const strength = Math.min(1, Math.abs(value) / full);
      const tone = strength > 0.78 ? 'high' : strength > 0.5 ? 'middle' : 'low';
      const figure = html`<text class="figure ${tone}" x="${at(j + 0.5)}%" y="${y + DOWN / 2 + 4}" text-anchor="middle">${text(value)}</text>`;
      return html`<g><title>${name}, ${column}: ${text(value)}</title><rect class="ground" ${place}/><rect class="${value < 0 ? 'negative' : 'positive'}" ${place} fill-opacity="${strength}"/>${columns.length > MOST_FIGURES.page ? '' : figure}</g>`;
    });
    return html`<svg class="label" y="${y}" width="${LEFT - 1}%" height="${DOWN}"><text y="${DOWN / 2 + 4.5}"><title>${name}</title>${words.short(name, 26)}</text></svg>${cells}`;
  });
  const className = columns.length > MOST_FIGURES.phone ? 'heat crowded' : 'heat';
  return picture(className, label, html`${heads}${drawn}`, head + rows.length * DOWN + 8);
}
