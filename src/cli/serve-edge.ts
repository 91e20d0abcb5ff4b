/** `crayon serve-edge`: the customised model behind an OpenAI-compatible API, with the server LLM for what it is not sure of. */

import { Command, Option } from 'commander';
import { LOG_LEVELS } from '../serve/config.js';
import { edgeOptions, type ServeEdgeFlags } from './edge-flags.js';
import { wholeNumber } from './options.js';
import type { Terminal } from './terminal.js';

const HELP = `
Flags override the keys of --config. Any client of OpenAI's API can use the server:

Examples:
  $ crayon serve-edge --config configs/edge.yaml
  $ crayon serve-edge --model models/crayon-edge --adapter my-adapter
  $ crayon serve-edge --model models/crayon-edge --pool models/crayon-edge-pool --gate per-query
  $ crayon serve-edge --model model.gguf --adapter my-adapter --server-url http://127.0.0.1:8000/v1 --server-model big \\
      --server-key-env BIG_KEY --mode prefer_on_device
  $ curl http://127.0.0.1:8080/v1/chat/completions -H 'content-type: application/json' \\
      -d '{"model": "crayon-edge", "messages": [{"role": "user", "content": "Hello"}]}'

SIGINT and SIGTERM let running requests finish, then end with exit code 0.`;

export function serveEdgeCommand(terminal: Terminal): Command {
  const command = new Command('serve-edge')
    .description(
      'Serve the customised model by an OpenAI-compatible API; what is out of its scope goes to a larger LLM.',
    )
    .option('--config <yaml>', 'configuration with all keys (see configs/edge.yaml)');
  return edgeOptions(command)
    .option('--host <address>', 'address to bind to (default: 127.0.0.1; any other needs an API key)')
    .option('--port <n>', 'port to listen on, 0 for any free one (default: 8080)', wholeNumber(0, 65_535))
    .option(
      '--api-key <key>',
      'the key that clients must send; other users of this machine may see it in its process list',
    )
    .option('--api-key-env <name>', 'environment variable that holds it')
    .option('--api-key-file <file>', 'file that holds it')
    .option('--queue <n>', 'requests that may wait for the device', wholeNumber(0))
    .option('--max-tokens <n>', 'the most tokens of one answer', wholeNumber(1))
    .addOption(new Option('--log-level <level>', 'of the log on stderr').choices(LOG_LEVELS))
    .option('--log-prompts', 'write prompts into the log; those under only_on_device never are')
    .option('--stop-seconds <n>', 'how long running requests may take to finish at the end', wholeNumber(0, 3600), 30)
    .addHelpText('after', HELP)
    .action(async (flags: ServeEdgeFlags) => {
      const { runServeEdge } = await import('./run-serve-edge.js');
      await runServeEdge(flags, terminal);
    });
}
