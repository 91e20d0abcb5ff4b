/** `crayon bench load`: open and closed loop load on a server that runs, crayon's or any other with OpenAI's API. */

import { Command, InvalidArgumentError, Option } from 'commander';
import { MODES } from '../../routing/types.js';
import { collect, decimal, numberList, wholeNumber } from '../options.js';
import type { Terminal } from '../terminal.js';
import type { BenchLoadFlags } from './run-load.js';

const HELP = `
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

/** To be added to the command `bench`. */
export function benchLoadCommand(terminal: Terminal): Command {
  return new Command('load')
    .description('Put load on a running server: TTFT, TPOT, ITL, end to end, goodput, by source.')
    .option('--config <yaml>', 'the options below as YAML (see configs/bench/load.yaml); flags override its keys')
    .option('--url <url>', 'the server, up to /v1')
    .option('--model <name>', 'as the server calls it')
    .option('--key-env <name>', 'environment variable that holds its key')
    .option('--data <file>', 'prompts to send: any data set; may be repeated', collect, [])
    .option('--data-dir <dir>', 'where the paths inside a YAML start')
    .option('--split <name>', 'split to read where a YAML names several')
    .option('--limit <n>', 'at most this many prompts of each data set', wholeNumber(1))
    .option('--clients <list>', 'closed loop: numbers of clients, e.g. 1,4,8', numberList)
    .option('--rate <list>', 'open loop: requests a second, e.g. 2,8', numberList)
    .option('--burstiness <x>', 'of arrivals: 1 is Poisson, below 1 comes in bursts', decimal(0))
    .option('--requests <n>', 'of each pattern', wholeNumber(1))
    .option('--seconds <s>', 'of each pattern, instead of or besides', decimal(0))
    .option('--warmup <n>', 'requests before, not counted', wholeNumber(0))
    .option('--max-tokens <n>', 'of an answer', wholeNumber(1))
    .addOption(new Option('--mode <mode>', "crayon's routing mode for these requests").choices(MODES))
    .option('--goodput <limits>', 'milliseconds, e.g. ttft:300,tpot:50,e2e:2000', goodputLimits)
    .option('--seed <n>', 'of arrivals and the order of prompts', wholeNumber(0), 0)
    .option('--device <name>', 'a word for the tables: what the server runs on', 'as it is')
    .option('--network <name>', 'a word for the tables: what lies between', 'as it is')
    .option('--out <dir>', 'bench run directory that the results are added to')
    .addHelpText('after', HELP)
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
