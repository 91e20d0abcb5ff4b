/** `crayon route --explain`: who would answer a prompt, and why; nothing is sent to the server. */

import { Command, Option } from 'commander';
import { PROMPT_KINDS } from '../engine/types.js';
import { MODES } from '../routing/types.js';
import { wholeNumber } from './options.js';
import type { RouteFlags } from './run-route.js';
import type { Terminal } from './terminal.js';

const HELP = `
The device's model runs; the server is not asked anything, and needs not be there. Signals that are switched off are
computed too, to show what they would say.

Examples:
  $ crayon route --explain "What is the balance of my account?" --config edge.yaml
  $ crayon route --explain "Who was Hypatia?" --config edge.yaml --mode only_on_device --json`;

export function routeCommand(terminal: Terminal): Command {
  return new Command('route')
    .description('Show one routing decision with its scores, offline.')
    .requiredOption('--explain <prompt>', 'the prompt to decide about')
    .requiredOption('--config <file>', 'YAML of serve-edge')
    .addOption(new Option('--mode <mode>', "instead of the configuration's").choices(MODES))
    .option('--max-tokens <n>', 'tokens asked for (default: what fits, up to limits.max_tokens)', wholeNumber(1))
    .addOption(
      new Option('--prompt <form>', "the prompt as one user's message, or as a text to be continued")
        .choices(PROMPT_KINDS)
        .default('chat'),
    )
    .addHelpText('after', HELP)
    .action(async (flags: RouteFlags) => {
      const { runRoute } = await import('./run-route.js');
      await runRoute(flags, terminal);
    });
}
