/** `crayon bench`: what each way of customising is worth, on users with few examples; `bench report` shows it. */

import { Command } from 'commander';
import { NETWORK_NAMES } from '../../bench/live/network/networks.js';
import { CrayonError } from '../../core/errors.js';
import { backendOption } from '../options.js';
import type { Terminal } from '../terminal.js';
import { benchLoadCommand } from './load.js';
import { benchReportCommand } from './report.js';
import type { BenchFlags } from './run.js';

const HELP = `
A user is a task, or a mixture of tasks, with a few examples shown and others to be tested on. For every user, each
strategy customises the model from the same examples and answers the same test: the base model alone and with the
examples in its context, blends (uniform, random, nearest, Crayon, Crayon for each query), one LoRA on everything, a
LoRA on the examples, LoraHub's search, and a larger model. Multiple choice is scored by log-probability, other
answers by exact match.

Repeating the command continues a run that was stopped, with the same results as in one go. configs/bench has the
configurations that the package ships: quick.yaml (minutes), suite.yaml, ablation.yaml; and hybrid.yaml,
hybrid-covered.yaml and conditions.yaml, which start an edge server and a server LLM and measure the router and load on
them.

Examples:
  $ crayon bench --config configs/bench/quick.yaml --out results/quick
  $ crayon bench --config configs/bench/quick.yaml --out results/quick --dry-run`;

export function benchCommand(terminal: Terminal): Command {
  return new Command('bench')
    .description('Measure what customisation is worth: strategies, users, accuracy, cost; resumable.')
    .option('--config <file>', 'YAML: model, pool, users, strategies')
    .option('--out <dir>', 'run directory, new or of the same run')
    .option('--work <dir>', 'where pools are kept; several runs may share one (default: work/ in the run directory)')
    .option('--fresh', 'throw the cells of an earlier run in --out away', false)
    .option('--dry-run', 'show the cells that would be run, and do nothing', false)
    .option('--network <list>', `between edge and server, of ${NETWORK_NAMES.join(', ')}; for live and load`, names)
    .option('--device <list>', 'device classes: default, laptop, phone, board or those of the configuration', names)
    .option('--conditions', 'blending alone, hybrid alone, both, neither, over every network and device class', false)
    .addOption(backendOption())
    .addHelpText('after', HELP)
    .enablePositionalOptions() // --out after `report` is the report's
    .addCommand(benchReportCommand(terminal))
    .addCommand(benchLoadCommand(terminal))
    .action(async (flags: BenchFlags) => {
      // not `requiredOption`, which `bench report` would require too
      for (const name of flags.dryRun ? (['config'] as const) : (['config', 'out'] as const)) {
        if (flags[name] === undefined)
          throw new CrayonError('bad-option', `--${name} is missing`, { hint: 'See --help.' });
      }
      const { runBenchCommand } = await import('./run.js');
      await runBenchCommand(flags, terminal);
    });
}

/** `4g,3g` */
const names = (text: string): string[] => text.split(',').map((name) => name.trim());
