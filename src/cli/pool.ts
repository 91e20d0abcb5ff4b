/** `crayon pool`: a finished pool changes: adapters come, are made anew and go, two pools become one. */

import { Command } from 'commander';
import { EMBEDDING_NAMES } from '../pool/embed/kinds.js';
import {
  anyBaseOption,
  backendOption,
  collect,
  decimal,
  promptFormOption,
  splitOptions,
  turnsOption,
  wholeNumber,
} from './options.js';
import type { PoolFlags } from './run-pool.js';
import type { Terminal } from './terminal.js';

const HELP = `
A cluster has a number for ever: it stays with its adapter whatever comes and goes, and is never given again. What a
change does not name stays byte for byte. A pool is replaced by one rename; whoever reads it gets the old or the new.

An adapter is found by examples of what it is for, or without any by itself: of unlabelled prompts of all the kinds
that users ask (--probes), those to which it answers most (||B A x||) say where it lies among the others.

Examples:
  $ crayon pool add pool adapters/german --examples german.jsonl
  $ crayon pool import pool adapters/* --examples german=german.jsonl --probes prompts.jsonl
  $ crayon pool import new-pool adapters/* --model models/base --probes prompts.jsonl
  $ crayon pool update pool --cluster 3 --data new.jsonl
  $ crayon pool remove pool 3 5
  $ crayon pool merge pool-a pool-b --out both
  $ crayon pool remake pool my-blend --out my-blend-again`;

export function poolCommand(command: Command, terminal: Terminal): void {
  command.addHelpText('after', HELP).enablePositionalOptions();
  const verb = (name: string, description: string) => new Command(name).description(description);
  const run = async (what: keyof typeof import('./run-pool.js').RUN, args: string[], flags: PoolFlags) => {
    const { runPool } = await import('./run-pool.js');
    await runPool(what, args, flags, terminal);
  };
  const withBase = (one: Command) =>
    splitOptions(one)
      .option('--model <path>', "the base model, where it is not where the pool's manifest says")
      .option(
        '--probes <file>',
        'unlabelled prompts, by which adapters without examples are found; may be repeated',
        collect,
      )
      .option('--limit <n>', 'at most this many examples of each file, drawn with the seed', wholeNumber(1))
      .option('--seed <n>', 'seed of draws and of training', wholeNumber(0), 0)
      .addOption(turnsOption())
      .addOption(anyBaseOption())
      .addOption(backendOption());

  command.addCommand(
    withBase(verb('add', 'Add a PEFT adapter to a pool.'))
      .argument('<pool>', 'the pool directory')
      .argument('<adapter>', 'a PEFT directory')
      .option('--examples <file>', 'examples of what it is for; may be repeated', collect)
      .action((pool: string, adapter: string, flags: PoolFlags) => run('add', [pool, adapter], flags)),
  );
  command.addCommand(
    withBase(verb('import', 'Add many PEFT adapters, or begin a pool with them.'))
      .argument('<pool>', 'a pool directory, or a new one')
      .argument('<adapters...>', 'PEFT directories')
      .option(
        '--examples <name=file>',
        'examples of what the adapter directory of that name is for; may be repeated',
        collect,
      )
      .option('--embedding <kind>', `of a new pool: ${EMBEDDING_NAMES}`, 'tfidf')
      .option('--no-centred', 'of a new pool: do not subtract the mean of a dense embedding')
      .option('--tau <t>', "of a new pool: the gate's temperature", decimal(0), 0.1)
      .addOption(promptFormOption('chat where the base has a chat template; of a new pool'))
      .option('--system <text>', 'of a new pool in form chat: the system message')
      .option('--force', 'replace a pool in place of adding to it', false)
      .action((pool: string, adapters: string[], flags: PoolFlags) => run('import', [pool, ...adapters], flags)),
  );
  command.addCommand(
    withBase(verb('update', "Train one cluster's adapter anew on other data, or put another in its place."))
      .argument('<pool>', 'the pool directory')
      .requiredOption('--cluster <id>', 'which one', wholeNumber(0))
      .option('--data <file>', 'examples to train on; may be repeated', collect)
      .option('--adapter <dir>', 'a PEFT directory that takes the place, in place of training')
      .option('--examples <file>', 'with --adapter: examples of what it is for; may be repeated', collect)
      .option('--epochs <n>', "passes over the data (default: the pool's)", decimal(0))
      .option('--learning-rate <x>', "highest learning rate (default: the pool's)", decimal(0))
      .action((pool: string, flags: PoolFlags) => run('update', [pool], flags)),
  );
  command.addCommand(
    verb('remove', 'Take clusters out of a pool.')
      .argument('<pool>', 'the pool directory')
      .argument('<ids...>', 'their numbers, as `crayon pool list` shows them')
      .action((pool: string, ids: string[], flags: PoolFlags) => run('remove', [pool, ...ids], flags)),
  );
  command.addCommand(
    verb('merge', "A new pool of two pools' clusters.")
      .argument('<first>', 'its clusters keep their numbers')
      .argument('<second>', 'its clusters get the next ones')
      .requiredOption('-o, --out <dir>', 'the pool to write')
      .option('--force', 'replace an existing pool', false)
      .action((first: string, second: string, flags: PoolFlags) => run('merge', [first, second], flags)),
  );
  command.addCommand(
    verb('remake', "Blend once more by an earlier blend's coefficients, from the pool as it is now.")
      .argument('<pool>', 'the pool directory')
      .argument('<blend>', 'a blend that was made of an earlier state of the pool, or of one that was merged into it')
      .requiredOption('--out <dir>', 'the adapter to write')
      .option('--force', 'replace an existing adapter', false)
      .action((pool: string, blend: string, flags: PoolFlags) => run('remake', [pool, blend], flags)),
  );
  command.addCommand(
    verb('list', "A pool's clusters, with their numbers and how they are found.")
      .argument('<pool>', 'the pool directory')
      .action((pool: string, flags: PoolFlags) => run('list', [pool], flags)),
  );
}
