/**
 * `crayon bench`: what each way of customising is worth, on users with few examples; `bench report` shows it, and `bench load`
 * puts open and closed loop load on a server that runs, crayon's or any other with OpenAI's API.
 */

import { Command, InvalidArgumentError } from 'commander';
import { NETWORK_NAMES } from '../../bench/live/network/networks.js';
import { CrayonError } from '../../core/errors.js';
import { MODES } from '../../routing/types.js';
import { backendOption, choice, collect, decimal, numberList, poolOptions, wholeNumber } from '../options.js';
import type { Terminal } from '../terminal.js';
import type { BenchFlags } from './run.js';
import type { BenchLoadFlags } from './run-load.js';
import type { BenchReportFlags } from './run-report.js';

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

export function benchCommand(command: Command, terminal: Terminal): void {
  command
    .option('--config <file>', 'YAML: model, pool, users, strategies')
    .option('--out <dir>', 'run directory, new or of the same run')
    .option('--model <path>', "base model, instead of the configuration's")
    .option(
      '--pool <place>',
      "finished pool or its address, instead of the configuration's pool.dir or of building one; {seed} in it is the run's",
    )
    .option('--data-dir <dir>', "where the paths inside a task's YAML start, instead of the configuration's data_dir")
    .option('--work <dir>', 'where pools are kept; several runs may share one (default: work/ in the run directory)')
    .option('--fresh', 'throw the cells of an earlier run in --out away', false)
    .option('--dry-run', 'show the cells that would be run, and do nothing', false)
    .option('--network <list>', `between edge and server, of ${NETWORK_NAMES.join(', ')}; for live and load`, names)
    .option('--device <list>', 'device classes: default, laptop, phone, board or those of the configuration', names)
    .option('--conditions', 'blending alone, hybrid alone, both, neither, over every network and device class', false);
  poolOptions(command)
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

const REPORT_HELP = `
Prints the tables, and writes report.md and report.html into the run's directory. A run that is still going on, or was
stopped, is reported with what it has. Intervals are bootstraps over the test examples, paired where two things are compared.

Examples:
  $ crayon bench report results/quick
  $ crayon bench report results/quick --compare results/before
  $ crayon bench report results/quick --json > quick.json`;

function benchReportCommand(terminal: Terminal): Command {
  return new Command('report')
    .description('Report a bench run: tables here, report.md and report.html in its directory.')
    .argument('<dir>', 'directory written by crayon bench')
    .option('--compare <dir>', 'another run: paired differences, this one less the other')
    .option('--out <dir>', "where report.md and report.html go (default: the run's directory)")
    .option('--resamples <n>', 'draws of the bootstrap', wholeNumber(100, 1_000_000), 2000)
    .addHelpText('after', REPORT_HELP)
    .action(async (dir: string, flags: BenchReportFlags) => {
      const { runBenchReport } = await import('./run-report.js');
      runBenchReport(dir, flags, terminal);
    });
}

const LOAD_HELP = `
Closed loop: so many clients, each with one request at a time. Open loop: requests arrive at a rate, by a Poisson process or
(burstiness) a gamma one, whether or not the server keeps up. TTFT is the time to the first text, TPOT that for each token after
it as the server's usage counts them, ITL the gap between two pieces of text; goodput counts requests within all limits.

Examples:
  $ crayon bench load --url http://127.0.0.1:8080/v1 --model crayon-edge --data suite/route-bank.yaml --clients 1,4,8
  $ crayon bench load --url http://127.0.0.1:8080/v1 --model crayon-edge --data suite/swap-words.yaml --rate 2,8 --seconds 30 \\
      --goodput ttft:300,tpot:50 --out results/load
  $ crayon bench load --config configs/bench/load.yaml --url http://127.0.0.1:8080/v1 --model crayon-edge

To start the edge server with device settings and a network to its server LLM, use the section load of a bench configuration:
configs/bench/hybrid.yaml.`;

function benchLoadCommand(terminal: Terminal): Command {
  return new Command('load')
    .description('Put load on a running server: TTFT, TPOT, ITL, end to end, goodput, by source.')
    .option('--config <yaml>', 'the options below as YAML (see configs/bench/load.yaml); flags override its keys')
    .option('--url <url>', 'the server, up to /v1')
    .option('--model <names...>', 'as the server calls it; of several, one is drawn for each request')
    .option('--key-env <name>', 'environment variable that holds its key')
    .option('--data <file>', 'prompts to send: any data set; may be repeated', collect)
    .option('--data-dir <dir>', 'where the paths inside a YAML start')
    .option('--split <name>', 'split to read where a YAML names several')
    .option('--limit <n>', 'at most this many prompts of each data set', wholeNumber(1))
    .option('--clients <list>', 'closed loop: numbers of clients, e.g. 1,4,8', numberList)
    .option('--rate <list>', 'open loop: requests a second, e.g. 2,8', numberList)
    .option('--burstiness <x>', 'of arrivals: 1 is Poisson, below 1 comes in bursts', decimal(0))
    .option('--requests <n>', 'of each pattern', wholeNumber(1))
    .option('--seconds <s>', 'of each pattern, instead of or besides', decimal(0))
    .option('--warmup <n>', 'requests before, not counted', wholeNumber(0))
    .option('--max-tokens <list>', 'of an answer; of several, one is drawn for each request', numberList)
    .addOption(choice('--mode <mode>', "crayon's routing mode for these requests", MODES))
    .option('--goodput <limits>', 'milliseconds, e.g. ttft:300,tpot:50,e2e:2000', goodputLimits)
    .option('--seed <n>', 'of arrivals and the order of prompts', wholeNumber(0), 0)
    .option('--device <name>', 'a word for the tables: what the server runs on', 'as it is')
    .option('--network <name>', 'a word for the tables: what lies between', 'as it is')
    .option('--out <dir>', 'bench run directory that the results are added to')
    .addHelpText('after', LOAD_HELP)
    .action(async (flags: BenchLoadFlags) => {
      const { runBenchLoad } = await import('./run-load.js');
      await runBenchLoad(flags, terminal);
    });
}

/** `ttft:300,tpot:50` */
export function goodputLimits(text: string): Record<string, number> {
  const limits: Record<string, number> = {};
  for (const part of text.split(/[\s,]+/)) {
    const [, name, value] = /^(ttft|tpot|e2e):(\d+(?:\.\d+)?)$/.exec(part) ?? [];
    if (name === undefined || !(Number(value) > 0)) {
      throw new InvalidArgumentError(`"${part}" is not a limit such as ttft:300, tpot:50 or e2e:2000 (milliseconds).`);
    }
    limits[name] = Number(value);
  }
  return limits;
}
