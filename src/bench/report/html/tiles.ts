/** The figures that a reader wants first. */

import type { Interval } from '../../../core/stats.js';
import { compareReferences, isCrayon, strategyTitle } from '../../strategies/index.js';
import { headline, oracleRecovered, signalTitle } from '../hybrid.js';
import type { Report } from '../report.js';
import { atHeadlineShare, hybridGroups } from '../tables-hybrid.js';
import * as words from '../words.js';
import { html, type Markup, NOTHING } from './markup.js';

/** Crayon's accuracy and its margins, and what the hybrid recovers; what the run does not have is left out. */
export function tiles(report: Report): Markup {
  const all = [...crayonTiles(report), ...hybridTiles(report)];
  return all.length === 0 ? NOTHING : html`<div class="tiles">${all}</div>`;
}

function tile(name: string, value: Interval, unit: string, text: (x: number) => string, ...below: string[]): Markup {
  const ranges = [`95 %: ${text(value.low)} to ${text(value.high)}`, ...below];
  return html`<div class="tile"><div class="name">${name}</div><div class="figure">${text(value.estimate)} <small>${unit}</small></div>${ranges.map((range) => html`<div class="range">${range}</div>`)}</div>`;
}

function crayonTiles({ strategies, methods }: Report): Markup[] {
  // Of several methods the one with the most cells: two of each figure would be two different ones.
  const row = strategies.find(({ strategy, method }) => strategy === 'crayon' && method === methods[0]);
  if (row === undefined) return [];
  const title = words.withMethod(row, methods);
  const references = row.differences.toSorted((a, b) => compareReferences(a.reference, b.reference));
  // One LoRA of the same rank and LoraHub: the two margins that the paper gives.
  const shown = references.filter(({ reference }) => reference === 'one-lora' || reference === 'lorahub');
  return [
    tile(`${title}, mean of ${words.plural(row.accuracy.users, 'user')}`, row.accuracy, 'points', words.points),
    ...(shown.length > 0 ? shown : references.slice(0, 2)).map(({ reference, difference }) =>
      tile(`${title} over ${strategyTitle(reference)}`, difference, 'points', words.signedPoints),
    ),
  ];
}

/** One for Crayon's fixed blend and one for its per-query gate; where neither was run, one for what there is. */
function hybridTiles(report: Report): Markup[] {
  const groups = hybridGroups(report);
  const main = groups.filter(([row]) => isCrayon(row!.edgeStrategy) && row!.method === report.methods[0]);
  return (main.length > 0 ? main : groups.slice(0, 1)).flatMap((rows) => {
    const row = headline(rows);
    if (row.curve.apgr === null) return [];
    const at = atHeadlineShare(row);
    const plain = rows.find(({ signal }) => signal === 'confidence');
    const others = [
      plain === undefined || plain === row
        ? ''
        : `confidence alone ${words.wholePercent(atHeadlineShare(plain).recovered.estimate)}, `,
      `random ${words.wholePercent(at.share)}, oracle ${words.wholePercent(oracleRecovered(row.intervals, at))}`,
    ];
    return tile(
      `${row.title}, ${signalTitle(row.signal)}: gap to the server recovered at ${words.percent(at.share)} server share`,
      at.recovered,
      '%',
      words.wholePercent,
      others.join(''),
      `${words.signedInterval(at.overRandom)} points over random`,
    );
  });
}
