/** The work and the words of `crayon bench report`; loaded only when it runs. */

import { join } from 'node:path';
import { compareRuns, compareTables } from '../../bench/report/compare.js';
import { reportHtml } from '../../bench/report/html/page.js';
import { reportMarkdown } from '../../bench/report/markdown.js';
import { readRun } from '../../bench/report/read.js';
import { buildReport, type Report } from '../../bench/report/report.js';
import { facts, terminalTables } from '../../bench/report/tables.js';
import { visible } from '../../bench/report/words.js';
import { ensureDirectory, writeFileAtomic } from '../../files/atomic.js';
import type { Terminal } from '../terminal.js';
import { showTables } from './tables.js';

export interface BenchReportFlags {
  compare?: string;
  out?: string;
  resamples: number;
}

export function runBenchReport(dir: string, flags: BenchReportFlags, terminal: Terminal): void {
  const { resamples } = flags;
  const here = readRun(dir);
  const comparison = flags.compare === undefined ? null : compareRuns(here, readRun(flags.compare), { resamples });
  const report = buildReport(here, { resamples });
  const out = flags.out ?? dir;
  ensureDirectory(out);
  const files = { markdown: join(out, 'report.md'), html: join(out, 'report.html') };
  writeFileAtomic(files.markdown, reportMarkdown(report, comparison));
  writeFileAtomic(files.html, reportHtml(report, comparison));
  terminal.document({ ...documentOf(report), comparison, files });
  for (const remark of report.remarks) terminal.warn(visible(remark));
  const { bold, dim, green } = terminal.colour;
  terminal.print(bold(`crayon bench: ${visible(report.name)}`));
  const known = facts(report);
  const width = Math.max(...known.map(([name]) => name.length)) + 2;
  for (const [name, value] of known) terminal.print(`  ${dim(name.padEnd(width))}${visible(value)}`);
  showTables([...terminalTables(report), ...(comparison === null ? [] : compareTables(comparison))], terminal);
  terminal.print(`\n${green('Report written:')} ${files.markdown} and ${files.html}`);
}

/** The points of the cluster map are for the picture only. */
function documentOf({ clusters: _, ...rest }: Report): object {
  return rest;
}
