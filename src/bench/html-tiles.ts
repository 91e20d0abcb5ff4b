/** The figures that a reader wants first. */

import type { Interval } from '../core/stats.js';
import { html, type Markup, NOTHING } from './html.js';
import type { Report } from './report.js';
import { oracleRecovered } from './report-hybrid.js';
import * as words from './report-words.js';
import { compareReferences, strategyTitle } from './strategy-names.js';

/** Crayon's accuracy and its margins, and what the hybrid recovers; what the run does not have is left out. */
export function tiles(report: Report): Markup {
  const all = [...crayonTiles(report), ...hybridTiles(report)];
  return all.length === 0 ? NOTHING : html`<div class="tiles">${all}</div>`;
}

function crayonTiles({ strategies, methods }: Report): Markup[] {
  // Of several methods the one with the most cells: two of each figure would be two different ones.
  const own = strategies.filter((row) => row.strategy === 'crayon' && row.method === methods[0]);
  return own.flatMap((row) => {
    const method = methods.length > 1 ? ` (${row.method})` : '';
    const references = row.differences.toSorted((a, b) => compareReferences(a.reference, b.reference));
    // One LoRA of the same rank and LoraHub: the two margins that the paper gives.
    const shown = references.filter(({ reference }) => reference === 'one-lora' || reference === 'lorahub');
    return [
      tile(
        `${row.title}${method}, mean of ${words.plural(row.accuracy.users, 'user')}`,
        words.points(row.accuracy.estimate),
        'points',
        unsigned(row.accuracy),
      ),
      ...(shown.length > 0 ? shown : references.slice(0, 2)).map(({ reference, difference }) =>
        tile(
          `${row.title}${method} over ${strategyTitle(reference)}`,
          words.signedPoints(difference.estimate),
          'points',
          `95 %: ${words.signedPoints(difference.low)} to ${words.signedPoints(difference.high)}`,
        ),
      ),
    ];
  });
}

function hybridTiles({ hybrid }: Report): Markup[] {
  const row = hybrid?.rows[0];
  if (row === undefined || row.curve.apgr === null) return [];
  const at = row.intervals.shares.find(({ share }) => share === 0.2) ?? row.intervals.shares[0]!;
  const { recovered } = at;
  const whole = (x: number) => (100 * x).toFixed(0).replace('-', '−');
  return [
    tile(
      `Gap to the server recovered at ${words.percent(at.share)} server share (random: ${whole(at.share)}, oracle: ${whole(oracleRecovered(row.intervals, at))})`,
      whole(recovered.estimate),
      '%',
      `95 %: ${whole(recovered.low)} to ${whole(recovered.high)}`,
    ),
  ];
}

function unsigned({ low, high }: Interval): string {
  return `95 %: ${words.points(low)} to ${words.points(high)}`;
}

function tile(name: string, figure: string, unit: string, range: string): Markup {
  return html`<div class="tile"><div class="name">${name}</div><div class="figure">${figure} <small>${unit}</small></div><div class="range">${range}</div></div>`;
}
