/**
 * The command line: lists the commands, runs one, and turns every failure into a message and an exit code. A command's file,
 * with all that it needs, is loaded where the command line names it, so that the list itself answers at once.
 */

import { Command, CommanderError } from 'commander';
import { CrayonError, EXIT, messageOf } from '../core/errors.js';
import { printable } from '../core/format.js';
import { hearingWarnings } from '../core/warning.js';
import { CRAYON_VERSION } from '../files/package.js';
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

type Declare = (command: Command, terminal: Terminal) => void;

const named = (name: string, description: string) => new Command(name).description(description);

/** Every command in the order of the help, and what gives it its options and its action. */
const commands = (): Array<[Command, () => Promise<Declare>]> => [
  [
    named('build-pool', 'Embed a training set, cluster it, and train a pool of base LoRA adapters.'),
    async () => (await import('./build-pool.js')).buildPoolCommand,
  ],
  [
    named('measure-pool', "Measure a pool by held-out examples, for blend's --standardise and label-evidence."),
    async () => (await import('./measure-pool.js')).measurePoolCommand,
  ],
  [
    named('pool', 'Change a finished pool: add, import, update, remove and merge adapters; list them.'),
    async () => (await import('./pool.js')).poolCommand,
  ],
  [
    named('blend', "Blend a pool's adapters into one for a user's 3 to 50 examples, without training."),
    async () => (await import('./blend.js')).blendCommand,
  ],
  [
    named('score', 'Measure held-out loss, perplexity and multiple-choice accuracy, with or without an adapter.'),
    async () => (await import('./score.js')).scoreCommand,
  ],
  [
    named('inspect', 'Show what a model, an adapter, a pool, a GGUF or a safetensors file holds.').argument(
      '<path>',
      'a directory, a .gguf or .safetensors file, or the address of a pool',
    ),
    async () => (await import('./inspect.js')).inspectCommand,
  ],
  [
    named('export', 'Write a model, or an adapter for it, as a GGUF file for llama.cpp.'),
    async () => (await import('./export.js')).exportCommand,
  ],
  [
    named('calibrate', 'Choose the routing thresholds on held-out examples, and show accuracy against server share.'),
    async () => (await import('./calibrate/calibrate.js')).calibrateCommand,
  ],
  [
    named('route', 'Show one routing decision with its scores, offline.'),
    async () => (await import('./route.js')).routeCommand,
  ],
  [
    named('bench', 'Measure what customisation is worth: strategies, users, accuracy, cost; resumable.'),
    async () => (await import('./bench/bench.js')).benchCommand,
  ],
  [
    named(
      'serve-edge',
      'Serve the customised model by an OpenAI-compatible API; what is out of its scope goes to a larger LLM.',
    ),
    async () => (await import('./serve-edge.js')).serveEdgeCommand,
  ],
  [
    named('serve-pool', 'Serve a pool, and blends of it for devices that send N numbers, over HTTP.'),
    async () => (await import('./serve-pool.js')).servePoolCommand,
  ],
  [
    named('quickstart', 'See the whole idea in minutes: pool, three users, scores; nothing to download.'),
    async () => (await import('./quickstart.js')).quickstartCommand,
  ],
  [
    named('doctor', 'Show what this machine has: Node, tensor back ends and their speed, threads, memory.'),
    async () => (await import('./doctor.js')).doctorCommand,
  ],
];

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
  for (const [command, load] of commands()) {
    program.addCommand(command);
    if (argv.includes(command.name())) (await load())(command, terminal);
  }
  for (const command of [program, ...program.commands.flatMap((command) => [command, ...command.commands])]) {
    command.showHelpAfterError('(run with --help for the options and examples)');
    command.exitOverride().configureOutput({
      writeOut: (text) => streams.stdout.write(text),
      writeErr: (text) => streams.stderr.write(printable(text, { keepLines: true })),
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
    await hearingWarnings(
      (text) => terminal.warn(text),
      () => program.parseAsync([...argv], { from: 'user' }),
    );
    return EXIT.ok;
  } catch (error) {
    terminal.json ||= argv.includes('--json'); // a wrong command line ends before its options are known
    return await report(error, terminal, argv.includes('--verbose'));
  }
}

async function report(error: unknown, terminal: Terminal, verbose: boolean): Promise<number> {
  if (error instanceof CommanderError) return reportUsage(error, terminal);
  const known = error instanceof CrayonError;
  const code = known ? error.code : 'internal';
  const message = messageOf(error);
  const hint = known ? error.hint : 'This is a defect of crayon. Please report it with the output of --verbose.';
  const said = known ? error.said : [];
  terminal.error(code, message, hint, said);
  if (verbose || !known) {
    const { sourceStack } = await import('../files/source-stack.js');
    terminal.say(sourceStack(`${(error as Error)?.stack ?? error}`));
    if (verbose && error instanceof Error && error.cause !== undefined) {
      terminal.say(sourceStack(`Cause: ${(error.cause as Error)?.stack ?? error.cause}`));
    }
  }
  const more = { ...(said.length > 0 && { said }), ...(hint !== undefined && { hint }) };
  terminal.document({ error: { code, message, ...more } });
  return known ? error.exitCode : EXIT.internal;
}

/** commander has printed its own message already; help and version end here with exit code 0. */
function reportUsage({ exitCode, message }: CommanderError, terminal: Terminal): number {
  if (exitCode === 0) return EXIT.ok;
  const plain = message.replace(/^error: /, '').replaceAll('\n', ' ');
  terminal.document({ error: { code: 'bad-option', message: plain, hint: 'Run with --help for the options.' } });
  return EXIT.usage;
}
