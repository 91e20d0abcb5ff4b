/** `crayon score`: held-out loss, perplexity and multiple-choice accuracy of a model, an adapter or a pool. */

import type { Command } from 'commander';
import { GGUF_FILE_TYPE_NAMES } from '../gguf/file-types.js';
import { SCORED_THROUGH } from '../train/completion-score.js';
import {
  anyBaseOption,
  backendOption,
  choice,
  dataOptions,
  poolOptions,
  promptFormOption,
  turnsOption,
  wholeNumber,
} from './options.js';
import type { ScoreFlags } from './scoring.js';
import type { Terminal } from './terminal.js';

const HELP = `
Loss is the mean negative log-likelihood per completion token, in nats. Where the examples have choices, acc takes
the choice of the highest summed log-probability and acc_norm the highest per character, as in lm-evaluation-harness.
Prompts beyond the context lose their front. --pool scores every example through its own mixture (the per-query gate).
--through engine asks llama.cpp, with the GGUF, the adapters and the kernels that serve-edge serves; both shows how far
the two are apart.

Examples:
  $ crayon score --model models/base --data held-out.jsonl
  $ crayon score --model models/base --adapter my-adapter --data held-out.jsonl --json
  $ crayon score --model models/base --pool pool --data held-out.jsonl
  $ crayon score --model models/base --adapter my-adapter --data held-out.jsonl --through both --type Q8_0
  $ crayon score --model base.Q4_1.gguf --data held-out.jsonl --through engine`;

const THROUGH = 'whose log-probabilities: computed in float32, those of the engine that serves, or both side by side';
const TYPE = 'through the engine: how a Hugging Face directory is exported';

export function scoreCommand(command: Command, terminal: Terminal): void {
  command
    .requiredOption('--model <path>', 'base model: a Hugging Face directory or a GGUF file')
    .option('--adapter <dir>', 'PEFT adapter on that model')
    .option(
      '--pool <place>',
      'pool, or its address, whose adapters are mixed for each example by its similarity to the centroids',
    )
    .option('--top-k <k>', 'adapters of the pool that an example gets at most (default: all)', wholeNumber(1));
  dataOptions(poolOptions(command, false), 'JSONL, JSON or CSV of examples, or a YAML', 'test')
    .addOption(turnsOption())
    .addOption(promptFormOption("the adapter's or pool's own, else chat where the model has a chat template"))
    .option('--system <text>', 'system message of the conversations that have none')
    .option('--seed <n>', 'seed of the draw', wholeNumber(0), 0)
    .option('--max-length <tokens>', "longest sequence (default: the model's context)", wholeNumber(2))
    .addOption(choice('--through <what>', THROUGH, [...Object.keys(SCORED_THROUGH), 'both'], 'forward'))
    .addOption(choice('--type <type>', TYPE, GGUF_FILE_TYPE_NAMES, 'F16'))
    .option('--cache-dir <dir>', 'where exported GGUF files and fetched pools are kept')
    .addOption(anyBaseOption())
    .addOption(backendOption())
    .addHelpText('after', HELP)
    .action(async (flags: ScoreFlags) => {
      const { runScore } = await import('./run-score.js');
      await runScore(flags, terminal);
    });
}
