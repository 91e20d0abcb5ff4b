/** `crayon measure-pool`: what a finished pool's own examples are to it, for the options of `blend` that measure by them. */

import type { Command } from 'commander';
import { anyBaseOption, backendOption, dataOptions, turnsOption, wholeNumber } from './options.js';
import type { MeasurePoolFlags } from './run-measure-pool.js';
import type { Terminal } from './terminal.js';

const HELP = `
Each adapter's loss by itself on these examples, and their similarity to the centroids where the build did not keep
that of the training set, are written into the pool's manifest: --estimator label-evidence and --standardise of blend
measure a user's examples by them. Adapters and centroids stay as they are.

Examples:
  $ crayon measure-pool --pool pool --model models/base --data held-out.jsonl --limit 64`;

export function measurePoolCommand(command: Command, terminal: Terminal): void {
  command
    .requiredOption('--pool <dir>', 'pool written by build-pool; its manifest is written anew')
    .requiredOption('--model <path>', 'the base model: a Hugging Face directory or a GGUF file');
  dataOptions(command, "examples of the pool's kinds that it was not trained on: JSONL, JSON or CSV, or a YAML")
    .addOption(turnsOption())
    .option('--seed <n>', 'seed of the draw', wholeNumber(0), 0)
    .addOption(anyBaseOption())
    .addOption(backendOption())
    .addHelpText('after', HELP)
    .action(async (flags: MeasurePoolFlags) => {
      const { runMeasurePool } = await import('./run-measure-pool.js');
      await runMeasurePool(flags, terminal);
    });
}
