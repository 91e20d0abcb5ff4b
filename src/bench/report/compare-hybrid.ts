/** The hybrids of two runs beside each other, on the examples that both have on both sides. */

import type { BootstrapOptions } from '../../core/stats.js';
import { atHeadline, type HybridRow, hybridSection, signalTitle } from './hybrid.js';
import type { AnsweredCell, BenchRun } from './read.js';
import { figure, type ReportTable, table, text } from './table.js';
import { exampleId, runSeedOf, unitId, unitsOf } from './units.js';
import * as words from './words.js';

/** One way of routing with one strategy on the device. */
export interface ComparedRouting {
  here: HybridRow;
  there: HybridRow;
}

export function compareHybrids(here: BenchRun, there: BenchRun, options: BootstrapOptions): ComparedRouting[] {
  const [ours, theirs] = [rowsOf(shared(here, there), options), rowsOf(shared(there, here), options)];
  return ours.flatMap((row) => {
    const other = theirs.find((one) => nameOf(one) === nameOf(row));
    return other === undefined ? [] : [{ here: row, there: other }];
  });
}

const nameOf = ({ edgeStrategy, method, signal }: HybridRow) => `${edgeStrategy}\n${method}\n${signal}`;

function rowsOf(cells: readonly AnsweredCell[], options: BootstrapOptions): HybridRow[] {
  const methods = [...new Set(cells.map(({ cell }) => cell.method))];
  return hybridSection(cells, unitsOf(cells), methods, options)?.rows ?? [];
}

/** The cells of the strategies with what the other run has answered too. */
function shared({ cells }: BenchRun, other: BenchRun): AnsweredCell[] {
  const keysOf = ({ cell, answers }: AnsweredCell) => {
    const of = JSON.stringify([cell.strategy, cell.method, unitId(cell.user), runSeedOf(cell)]);
    return answers.map((answer) => `${of}\n${exampleId(answer)}`);
  };
  const isMain = ({ cell }: AnsweredCell) => cell.table === 'strategies';
  const known = new Set(other.cells.filter(isMain).flatMap(keysOf));
  return cells.filter(isMain).map((one) => {
    const keys = keysOf(one);
    return { cell: one.cell, answers: one.answers.filter((_, i) => known.has(keys[i]!)) };
  });
}

export function comparedHybridTable(there: string, all: readonly ComparedRouting[]): ReportTable[] {
  const methods = [...new Set(all.map(({ here }) => here.method))];
  const sides = [
    ['this run', 'here'],
    ['the other', 'there'],
  ] as const;
  const figures = {
    APGR: ({ intervals }: HybridRow) => words.ratioInterval(intervals.apgr),
    'CPT(80)': ({ intervals }: HybridRow) => words.percentInterval(intervals.cpt80),
    'gap recovered at 20 %': (row: HybridRow) => words.percentInterval(atHeadline(row).recovered),
  };
  const notes = ['On the examples that both runs have, each run with intervals of its own: they are not paired.'];
  return table({ id: 'compared-hybrid', title: `The hybrid of this run and of ${there}`, notes }, all, [
    text('on the device', ({ here }) => words.withMethod(here, methods)),
    text('routed by', ({ here }) => signalTitle(here.signal)),
    figure('examples', ({ here }) => words.count(here.curve.examples)),
    ...Object.entries(figures).flatMap(([head, of]) =>
      sides.map(([side, key]) => figure(`${head}: ${side}`, (row: ComparedRouting) => of(row[key]))),
    ),
  ]);
}
