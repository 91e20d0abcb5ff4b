/** `crayon quickstart`: the whole idea on the embedded model and suite, with no download. */

import type { Command } from 'commander';
import { backendOption, wholeNumber } from './options.js';
import type { QuickstartFlags } from './run-quickstart.js';
import type { Terminal } from './terminal.js';

const HELP = `
Builds a small pool on the suite that the package ships, then plays three users, each with ten examples: one of a task
that the pool has seen, one who mixes two tasks, one of a task it has not seen. Compared on held-out test examples:
the base model, the uniform blend, the nearest single base LoRA, one LoRA trained on everything, and Crayon.

Repeating the command continues an interrupted run and reuses a finished pool.

Example:
  $ crayon quickstart`;

export function quickstartCommand(command: Command, terminal: Terminal): void {
  command
    .option('--work <dir>', 'where the pool and the adapters go', 'runs/quickstart')
    .option('--per-task <n>', 'training examples of each task', wholeNumber(8), 900)
    .option('--test <n>', 'test examples of each user', wholeNumber(2), 100)
    .option('--seed <n>', 'seed of every random choice', wholeNumber(0), 0)
    .option('--fresh', 'build the pool again', false)
    .addOption(backendOption())
    .addHelpText('after', HELP)
    .action(async (flags: QuickstartFlags) => {
      const { runQuickstart } = await import('./run-quickstart.js');
      await runQuickstart(flags, terminal);
    });
}
