/**
 * One table of the report, declared as rows and the columns that read them, and computed as plain text, which the terminal,
 * Markdown and HTML draw each in its way.
 */

import type { Interval } from '../../core/stats.js';
import * as words from './words.js';

export interface ReportTable {
  id: string;
  title: string;
  head: string[];
  /** 'left' for words, 'right' for numbers; one for each column */
  align: Array<'left' | 'right'>;
  rows: TableRow[];
  /** sentences below it */
  notes: string[];
}

export interface TableRow {
  cells: string[];
  /** drawn with emphasis */
  strong: boolean;
  /** indices of cells that stand out, such as a difference whose interval leaves out zero */
  clear: number[];
}

type Cell = string | { text: string; clear: boolean };

export interface Column<Row> {
  head: string;
  align: 'left' | 'right';
  cell: (row: Row) => Cell;
}

/** A column of words. */
export function text<Row>(head: string, cell: (row: Row) => Cell): Column<Row> {
  return { head, align: 'left', cell };
}

/** A column of numbers. */
export function figure<Row>(head: string, cell: (row: Row) => Cell): Column<Row> {
  return { head, align: 'right', cell };
}

/** A difference with its interval, which stands out where that leaves out zero; a dash where there is none. */
export function difference(d: Interval | null | undefined): Cell {
  return d === null || d === undefined ? '-' : { text: words.signedInterval(d), clear: words.isClear(d) };
}

interface TableWords<Row> {
  id: string;
  title: string;
  notes?: string[];
  isStrong?: (row: Row) => boolean;
}

/** @returns the table, or none where there are no rows */
export function table<Row>(
  { id, title, notes = [], isStrong = () => false }: TableWords<Row>,
  rows: readonly Row[],
  columns: ReadonlyArray<Column<Row>>,
): ReportTable[] {
  if (rows.length === 0) return [];
  const drawn = rows.map((row): TableRow => {
    const cells = columns.map(({ cell }) => cell(row));
    return {
      cells: cells.map((cell) => (typeof cell === 'string' ? cell : cell.text)),
      strong: isStrong(row),
      clear: cells.flatMap((cell, i) => (typeof cell !== 'string' && cell.clear ? [i] : [])),
    };
  });
  return [{ id, title, head: columns.map(({ head }) => head), align: columns.map((c) => c.align), rows: drawn, notes }];
}

/** Columns, notes or whatever else a list may hold; nothing where `condition` does not hold. */
export function when<T>(condition: boolean, ...items: T[]): T[] {
  return condition ? items : [];
}
