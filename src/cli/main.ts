/** The command line: declares the commands, runs one, and turns every failure into a message and an exit code. */

import { Command, CommanderError } from 'commander';
import { CrayonError, EXIT } from '../core/errors.js';
import { CRAYON_VERSION } from '../files/package.js';
import { benchCommand } from './bench/bench.js';
import { blendCommand } from './blend.js';
import { buildPoolCommand } from './build-pool.js';
import { calibrateCommand } from './calibrate/calibrate.js';
import { doctorCommand } from './doctor.js';
import { exportCommand } from './export.js';
import { inspectCommand } from './inspect/inspect.js';
import { quickstartCommand } from './quickstart.js';
import { routeCommand } from './route.js';
import { scoreCommand } from './score.js';
import { serveEdgeCommand } from './serve-edge.js';
import { type Streams, Terminal } from './terminal.js';

const EXAMPLES = `
A first run:
  $ crayon doctor
  $ crayon build-pool --model <model> --data train.jsonl --pool pool
  $ crayon blend --pool pool --examples mine.jsonl --out my-adapter
  $ crayon score --model <model> --adapter my-adapter --data held-out.jsonl

Exit codes:
  0 done · 1 a defect of crayon · 2 wrong usage · 3 a wrong file or value in it
  4 the machine lacks something · 5 the numbers diverged · 130 interrupted
`;

/**
 * Runs one command line.
 *
 * @param argv the arguments after the program's name
 * @returns the exit code
 */
export async function main(argv: readonly string[], streams: Streams = process): Promise<number> {
  const terminal = new Terminal(streams);
  const program = new Command('crayon')
    .description(
      'Customise a small on-device LLM in an instant: build a pool of base LoRA adapters once, ' +
        'then blend them for each user from 3 to 50 examples, without training.',
    )
    .version(CRAYON_VERSION)
    .enablePositionalOptions() // an option after `bench report` is the report's, also where `bench` has one of that name
    .addHelpText('after', EXAMPLES);
  for (const make of [
    buildPoolCommand,
    blendCommand,
    scoreCommand,
    inspectCommand,
    exportCommand,
    calibrateCommand,
    routeCommand,
    benchCommand,
    serveEdgeCommand,
    quickstartCommand,
    doctorCommand,
  ]) {
    program.addCommand(make(terminal));
  }
  for (const command of [program, ...program.commands.flatMap((command) => [command, ...command.commands])]) {
    command.showHelpAfterError('(run with --help for the options and examples)');
    command.exitOverride().configureOutput({
      writeOut: (text) => streams.stdout.write(text),
      writeErr: (text) => streams.stderr.write(text),
    });
    if (command !== program) {
      command
        .option('--json', 'print one JSON document to stdout, and everything else to stderr')
        .option('--quiet', 'no progress and no remarks on stderr')
        .option('--verbose', 'on failure, show the stack and the cause')
        .hook('preAction', (_, actual) => {
          terminal.json = actual.opts().json === true;
          terminal.quiet = actual.opts().quiet === true;
        });
    }
  }

  try {
    await program.parseAsync([...argv], { from: 'user' });
    return EXIT.ok;
  } catch (error) {
    terminal.json ||= argv.includes('--json'); // a wrong command line ends before its options are known
    return report(error, terminal, argv.includes('--verbose'));
  }
}

function report(error: unknown, terminal: Terminal, verbose: boolean): number {
  if (error instanceof CommanderError) return reportUsage(error, terminal);
  const known = error instanceof CrayonError;
  const code = known ? error.code : 'internal';
  const message = error instanceof Error ? error.message : String(error);
  const hint = known ? error.hint : 'This is a defect of crayon. Please report it with the output of --verbose.';
  terminal.error(code, message, hint);
  if (verbose || !known) terminal.streams.stderr.write(`${(error as Error)?.stack ?? error}\n`);
  if (verbose && error instanceof Error && error.cause !== undefined) {
    terminal.streams.stderr.write(`Cause: ${(error.cause as Error)?.stack ?? error.cause}\n`);
  }
  terminal.document({ error: { code, message, ...(hint === undefined ? {} : { hint }) } });
  return known ? error.exitCode : EXIT.internal;
}

/** commander has printed its own message already; help and version end here with exit code 0. */
function reportUsage({ exitCode, message }: CommanderError, terminal: Terminal): number {
  if (exitCode === 0) return EXIT.ok;
  const plain = message.replace(/^error: /, '').replaceAll('\n', ' ');
  terminal.document({ error: { code: 'bad-option', message: plain, hint: 'Run with --help for the options.' } });
  return EXIT.usage;
}
