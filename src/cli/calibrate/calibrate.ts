/**
 * `crayon calibrate`: routing thresholds from held-out examples that the device and the server both answer, and a
 * configuration with them.
 */

import { type Command, InvalidArgumentError, Option } from 'commander';
import { MATCHES } from '../../data/judge.js';
import { PROMPT_KINDS } from '../../engine/types.js';
import { choice, dataOptions, decimal, wholeNumber } from '../options.js';
import type { Terminal } from '../terminal.js';
import type { CalibrateFlags } from './flags.js';

const HELP = `
Both sources answer every example once; the answers are kept in a file, so a stopped run continues, and another target
needs no new answers. An answer is right when it equals the example's completion, white space around it aside; with
--match start it may go on afterwards, and counts as the longest of the choices that it starts with. Which signals are
worth having is decided by cross-validation; one that does not help stays off. The probability that the device's answer
is right, made of several signals, is tried too, and is taken where no plain thresholds come near it. So are the rates
at which the device and the server are right in each cluster, of the pool or of the questions themselves: what the
server gets wrong too is not worth sending. Clusters of the questions are kept in a file beside the configuration.

The examples must be held out: not those that the adapter was blended from.

Examples:
  $ crayon calibrate --config edge.yaml --data held-out.jsonl --target-share 0.2
  $ crayon calibrate --config edge.yaml --data held-out.jsonl --target-accuracy 0.9 --out device.calibrated.yaml
  $ crayon calibrate --config edge.yaml --data held-out.jsonl --target-cost 0.5
  $ crayon calibrate --config edge.yaml --data held-out.jsonl --max-risk 0.1 --confidence 0.95
  $ crayon calibrate --config new-user.yaml --data ten-examples.jsonl --from edge.calibrated.yaml`;

const ACCURACY = 'at least this accuracy, 0 to 1, with the fewest queries to the server';
const RISK = 'at most this part of the answers that the device keeps is wrong, guaranteed, between 0 and 1';
const COST = 'at most this much for 1000 queries, in the currency of the prices';
const FROM = 'the rule of this calibrated YAML, of other users, shifted by a few examples of a new one';
const AS_PROBABILITY = 'only a cut of the probability of a right answer, which --from can carry to other users';
const QUESTION_CLUSTERS = "count rates in the pool's clusters alone, not in clusters of the questions either";
const PROMPT = "put each example as one user's message, or as a text to be continued";
const MATCH = 'right is an answer that equals the right one, or that starts with it';
const MEASURES = 'record the confidence by every measure, token margin and entropy too, and choose among them';

export function calibrateCommand(command: Command, terminal: Terminal): void {
  command.requiredOption('--config <file>', 'YAML of serve-edge, with a server');
  dataOptions(command, 'held-out examples: JSONL, JSON or CSV, or a YAML', 'test')
    .addOption(
      new Option('--target-share <share>', 'at most this part of the queries to the server, 0 to 1')
        .argParser(part)
        .conflicts(['targetAccuracy', 'targetCost', 'maxRisk']),
    )
    .addOption(
      new Option('--target-accuracy <accuracy>', ACCURACY).argParser(part).conflicts(['targetCost', 'maxRisk']),
    )
    .addOption(new Option('--target-cost <money>', COST).argParser(decimal(0, true)).conflicts(['maxRisk']))
    .addOption(new Option('--max-risk <rate>', RISK).argParser(within))
    .addOption(new Option('--confidence <level>', 'of --max-risk, between 0 and 1 (default: 0.95)').argParser(within))
    .addOption(new Option('--from <file>', FROM).conflicts(['targetShare', 'targetAccuracy', 'targetCost', 'maxRisk']))
    .option('--as-probability', AS_PROBABILITY, false)
    .option('--no-question-clusters', QUESTION_CLUSTERS)
    .option('--out <file>', 'where the configuration with thresholds goes (default: <config>.calibrated.yaml)')
    .option('--records <file>', 'where the answers are kept (default: <out>.records.jsonl)')
    .option('--max-tokens <n>', 'of one answer (default: twice the longest right answer, and 8)', wholeNumber(1))
    .addOption(choice('--prompt <form>', PROMPT, PROMPT_KINDS, 'chat'))
    .addOption(choice('--match <rule>', MATCH, MATCHES, 'exact'))
    .option('--all-measures', MEASURES, false)
    .option('--parallel <n>', 'examples at a time (default: engine.sequences)', wholeNumber(1))
    .option('--seed <n>', 'seed of folds and intervals', wholeNumber(0), 0)
    .option('--resamples <n>', 'resamples of the intervals', wholeNumber(100), 2000)
    .option('--fresh', 'ask again what an earlier run has asked', false)
    .option('--force', 'replace an existing --out', false)
    .addHelpText('after', HELP)
    .action(async (flags: CalibrateFlags) => (await import('./run.js')).runCalibrate(flags, terminal));
}

function part(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !(value >= 0 && value <= 1)) {
    throw new InvalidArgumentError(`"${text}" is not a number from 0 to 1.`);
  }
  return value;
}

function within(text: string): number {
  const value = part(text);
  if (value > 0 && value < 1) return value;
  throw new InvalidArgumentError(`"${text}" is not a number between 0 and 1.`);
}
