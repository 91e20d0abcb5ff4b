/** `crayon calibrate`: routing thresholds from held-out examples that the device and the server both answer. */

import { Command, InvalidArgumentError, Option } from 'commander';
import { MATCHES } from '../../data/judge.js';
import { PROMPT_KINDS } from '../../engine/types.js';
import { collect, decimal, wholeNumber } from '../options.js';
import type { Terminal } from '../terminal.js';
import type { CalibrateFlags } from './run.js';

const HELP = `
Both sources answer every example once; the answers are kept in a file, so a stopped run continues, and another target
needs no new answers. An answer is right when it equals the example's completion, white space around it aside; with
--match start it may go on afterwards, and counts as the longest of the choices that it starts with. Which signals are
worth having is decided by cross-validation; one that does not help stays off. The probability that the device's answer
is right, made of several signals, is tried too, and is taken where no plain thresholds come near it.

The examples must be held out: not those that the adapter was blended from.

Examples:
  $ crayon calibrate --config edge.yaml --data held-out.jsonl --target-share 0.2
  $ crayon calibrate --config edge.yaml --data held-out.jsonl --target-accuracy 0.9 --out edge.calibrated.yaml
  $ crayon calibrate --config edge.yaml --data held-out.jsonl --target-cost 0.5`;

export function calibrateCommand(terminal: Terminal): Command {
  return new Command('calibrate')
    .description('Choose the routing thresholds on held-out examples, and show accuracy against server share.')
    .requiredOption('--config <file>', 'YAML of serve-edge, with a server')
    .requiredOption('--data <file>', 'held-out examples: JSONL, JSON or CSV, or a YAML; may be repeated', collect)
    .option('--data-dir <dir>', 'where the paths inside a YAML start')
    .option('--split <name>', 'split to read where a YAML names several', 'test')
    .option('--limit <n>', 'at most this many examples of each file, drawn with the seed', wholeNumber(1))
    .addOption(
      new Option('--target-share <share>', 'at most this part of the queries to the server, 0 to 1')
        .argParser(part)
        .conflicts(['targetAccuracy', 'targetCost']),
    )
    .addOption(
      new Option(
        '--target-accuracy <accuracy>',
        'at least this accuracy, 0 to 1, with the fewest queries to the server',
      )
        .argParser(part)
        .conflicts(['targetCost']),
    )
    .option(
      '--target-cost <money>',
      'at most this much for 1000 queries, in the currency of the prices',
      decimal(0, true),
    )
    .option('--out <file>', 'where the configuration with thresholds goes (default: <config>.calibrated.yaml)')
    .option('--records <file>', 'where the answers are kept (default: <out>.records.jsonl)')
    .option('--max-tokens <n>', 'of one answer (default: twice the longest right answer, and 8)', wholeNumber(1))
    .addOption(
      new Option('--prompt <form>', "put each example as one user's message, or as a text to be continued")
        .choices(PROMPT_KINDS)
        .default('chat'),
    )
    .addOption(
      new Option('--match <rule>', 'right is an answer that equals the right one, or that starts with it')
        .choices(MATCHES)
        .default('exact'),
    )
    .option('--parallel <n>', 'examples at a time (default: engine.sequences)', wholeNumber(1))
    .option('--seed <n>', 'seed of folds and intervals', wholeNumber(0), 0)
    .option('--resamples <n>', 'resamples of the intervals', wholeNumber(100), 2000)
    .option('--fresh', 'ask again what an earlier run has asked', false)
    .option('--force', 'replace an existing --out', false)
    .addHelpText('after', HELP)
    .action(async (flags: CalibrateFlags) => {
      const { runCalibrate } = await import('./run.js');
      await runCalibrate(flags, terminal);
    });
}

function part(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !(value >= 0 && value <= 1)) {
    throw new InvalidArgumentError(`"${text}" is not a number from 0 to 1.`);
  }
  return value;
}
