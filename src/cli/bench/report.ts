/** `crayon bench report`: what a bench run found, as tables, Markdown and one HTML page. */

import { Command } from 'commander';
import { wholeNumber } from '../options.js';
import type { Terminal } from '../terminal.js';
import type { BenchReportFlags } from './run-report.js';

const HELP = `
Prints the tables, and writes report.md and report.html into the run's directory. A run that is still going on, or was
stopped, is reported with what it has. Intervals are bootstraps over the test examples, paired where two things are compared.

Examples:
  $ crayon bench report results/quick
  $ crayon bench report results/quick --compare results/before
  $ crayon bench report results/quick --json > quick.json`;

/** To be added to the command `bench`. */
export function benchReportCommand(terminal: Terminal): Command {
  return new Command('report')
    .description('Report a bench run: tables here, report.md and report.html in its directory.')
    .argument('<dir>', 'directory written by crayon bench')
    .option('--compare <dir>', 'another run: paired differences, this one less the other')
    .option('--out <dir>', "where report.md and report.html go (default: the run's directory)")
    .option('--resamples <n>', 'draws of the bootstrap', wholeNumber(100, 1_000_000), 2000)
    .addHelpText('after', HELP)
    .action(async (dir: string, flags: BenchReportFlags) => {
      const { runBenchReport } = await import('./run-report.js');
      runBenchReport(dir, flags, terminal);
    });
}
