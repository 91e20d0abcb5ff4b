/** The figures that a reader wants first. */

import { groupBy } from '../../../core/group-by.js';
import type { Interval } from '../../../core/stats.js';
import { compareReferences, isCrayon, strategyTitle } from '../../strategies/names.js';
import { type HybridRow, headline, oracleRecovered, signalTitle } from '../hybrid.js';
import type { Report } from '../report.js';
import { atHeadlineShare } from '../tables-hybrid.js';
import * as words from '../words.js';
import { html, type Markup, NOTHING } from './markup.js';

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

/** One for Crayon's fixed blend and one for its per-query gate; where neither was run, one for what there is. */
function hybridTiles({ hybrid, methods }: Report): Markup[] {
  if (hybrid === null || hybrid.rows.length === 0) return [];
  const main = hybrid.rows.filter((row) => isCrayon(row.edgeStrategy) && row.method === methods[0]);
  const [first] = hybrid.rows;
  const shown = main.length > 0 ? main : hybrid.rows.filter((row) => isSameEdge(row, first!));
  return [...groupBy(shown, (row) => row.edgeStrategy).values()].flatMap((rows) => {
    const row = headline(rows);
    if (row.curve.apgr === null) return [];
    const at = atHeadlineShare(row);
    const { recovered, overRandom } = at;
    const plain = rows.find(({ signal }) => signal === 'confidence');
    const others = [
      ...(plain === undefined || plain === row
        ? []
        : [`confidence alone ${whole(atHeadlineShare(plain).recovered.estimate)}`]),
      `random ${whole(at.share)}`,
      `oracle ${whole(oracleRecovered(row.intervals, at))}`,
    ];
    return [
      tile(
        `${row.title}, ${signalTitle(row.signal)}: gap to the server recovered at ${words.percent(at.share)} server share`,
        whole(recovered.estimate),
        '%',
        `95 %: ${whole(recovered.low)} to ${whole(recovered.high)}`,
        others.join(', '),
        `${words.signedInterval(overRandom)} points over random`,
      ),
    ];
  });
}

function isSameEdge(a: HybridRow, b: HybridRow): boolean {
  return a.edgeStrategy === b.edgeStrategy && a.method === b.method;
}

function whole(part: number): string {
  return (100 * part).toFixed(0).replace('-', '−');
}

function unsigned({ low, high }: Interval): string {
  return `95 %: ${words.points(low)} to ${words.points(high)}`;
}

function tile(name: string, figure: string, unit: string, ...ranges: string[]): Markup {
  return html`<div class="tile"><div class="name">${name}</div><div class="figure">${figure} <small>${unit}</small></div>${ranges.map((range) => html`<div class="range">${range}</div>`)}</div>`;
}
