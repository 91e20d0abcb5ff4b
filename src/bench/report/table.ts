/** One table of the report as plain text, which the terminal, Markdown and HTML draw each in its way. */

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
  strong?: boolean;
  /** indices of cells that stand out, such as a difference whose interval leaves out zero */
  clear?: number[];
}

/** A table whose first `words` columns are words and all others numbers. */
export function table(
  id: string,
  title: string,
  head: string[],
  rows: TableRow[],
  { notes = [], words = 1 }: { notes?: string[]; words?: number } = {},
): ReportTable {
  return { id, title, head, align: head.map((_, i) => (i < words ? 'left' : 'right')), rows, notes };
}
