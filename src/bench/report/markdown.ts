/** The report as Markdown: the tables, for a pull request or a README. */

import { type Comparison, compareTables } from './compare.js';
import type { Report } from './report.js';
import type { ReportTable } from './table.js';
import { facts, reportTables } from './tables.js';
import { visible } from './words.js';

/** GitHub's dialect. Text from outside cannot open a link, a tag, or another cell. */
export function reportMarkdown(report: Report, comparison: Comparison | null = null): string {
  const parts = [`# crayon bench: ${escapeMarkdown(report.name)}`];
  for (const remark of report.remarks) parts.push(`> **Note.** ${escapeMarkdown(remark)}`);
  parts.push(
    facts(report)
      .map(([name, value]) => `- ${name}: ${escapeMarkdown(value)}`)
      .join('\n'),
  );
  const tables = [...reportTables(report), ...(comparison === null ? [] : compareTables(comparison))];
  for (const table of tables) parts.push(`## ${escapeMarkdown(table.title)}`, tableMarkdown(table));
  return `${parts.join('\n\n')}\n`;
}

export function tableMarkdown({ head, align, rows, notes }: ReportTable): string {
  const line = (cells: string[]) => `| ${cells.join(' | ')} |`;
  const lines = [
    line(head.map(escapeMarkdown)),
    line(align.map((side) => (side === 'right' ? '---:' : '---'))),
    ...rows.map(({ cells, strong, clear }) =>
      line(
        cells.map((cell, i) => {
          const text = escapeMarkdown(cell);
          return text !== '' && ((strong && i === 0) || clear.includes(i)) ? `**${text}**` : text;
        }),
      ),
    ),
  ];
  return [lines.join('\n'), ...notes.map(escapeMarkdown)].join('\n\n');
}

/** Makes every character that Markdown or HTML could read as more than itself stand for itself. */
export function escapeMarkdown(text: string): string {
  return visible(text)
    .replace(/&/g, '&amp;')
    .replace(/</g, '&lt;')
    .replace(/>/g, '&gt;')
    .replace(/[\\`*_~|#![\]{}]/g, (c) => `\\${c}`)
    .replace(/:(?=\/\/)|@/g, (c) => `&#${c.charCodeAt(0)};`); // addresses become links by themselves
}
