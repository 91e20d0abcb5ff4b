/** `crayon serve-edge`: the customised model behind an OpenAI-compatible API, with the server LLM for what it is not sure of. */

import { resolve } from 'node:path';
import { Command, Option } from 'commander';
import { CrayonError } from '../core/errors.js';
import { MODES } from '../routing/types.js';
import { type EdgeConfig, type EdgeOverrides, loadEdgeConfig } from '../serve/config.js';
import { wholeNumber } from './options.js';
import type { Terminal } from './terminal.js';

export interface ServeEdgeFlags {
  config?: string;
  model?: string;
  name?: string;
  adapter?: string;
  pool?: string;
  gate?: string;
  examples?: string;
  cacheDir?: string;
  serverUrl?: string;
  serverModel?: string;
  serverKeyEnv?: string;
  mode?: string;
  host?: string;
  port?: number;
  apiKey?: string;
  apiKeyEnv?: string;
  apiKeyFile?: string;
  threads?: 'auto' | number;
  context?: number;
  sequences?: number;
  type?: string;
  gpu?: string | false;
  queue?: number;
  maxTokens?: number;
  logLevel?: string;
  logPrompts?: boolean;
  stopSeconds: number;
}

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
    .addOption(
      new Option('--log-level <level>', 'of the log on stderr').choices(['debug', 'info', 'warn', 'error', 'silent']),
    )
    .option('--log-prompts', 'write prompts into the log; those under only_on_device never are')
    .option('--stop-seconds <n>', 'how long running requests may take to finish at the end', wholeNumber(0, 3600), 30)
    .addHelpText('after', HELP)
    .action(async (flags: ServeEdgeFlags) => {
      const { runServeEdge } = await import('./run-serve-edge.js');
      await runServeEdge(flags, terminal);
    });
}

/** The flags that say which model, adapter and server: `serve-edge` and whatever else assembles one. */
export function edgeOptions(command: Command): Command {
  return command
    .option('--model <path>', 'base model: a Hugging Face directory or a GGUF file')
    .option('--name <name>', "what /v1/models calls it (default: the model's file name)")
    .option('--adapter <path>', 'adapter from crayon blend (a PEFT directory), or a GGUF LoRA')
    .option('--pool <dir>', 'pool from build-pool: for --gate per-query and POST /v1/customizations')
    .addOption(
      new Option('--gate <kind>', 'one adapter for all requests, or the pool’s weighed for each prompt').choices([
        'fixed',
        'per-query',
      ]),
    )
    .option('--examples <file>', 'the examples that the adapter was blended from, for the scope signal')
    .option('--cache-dir <dir>', 'where exported GGUF files are kept')
    .option('--server-url <url>', 'the larger LLM: an OpenAI-compatible endpoint, up to /v1')
    .option('--server-model <name>', 'its model')
    .option('--server-key-env <name>', 'environment variable that holds its key')
    .addOption(new Option('--mode <mode>', 'who answers').choices(MODES))
    .option('--threads <n>', 'of the engine, or auto: measured at start', threadCount)
    .option('--context <tokens>', 'of prompt and answer together', wholeNumber(16))
    .option('--sequences <n>', 'requests generated at a time', wholeNumber(1))
    .addOption(new Option('--type <type>', 'how a Hugging Face directory is exported').choices(['F16', 'F32', 'Q8_0']))
    .addOption(
      new Option('--gpu <kind>', 'what llama.cpp runs on').choices(['auto', 'cuda', 'vulkan', 'metal', 'false']),
    );
}

/** @throws CrayonError `config-invalid`, `bad-option` */
export function configOf(flags: ServeEdgeFlags): EdgeConfig {
  if (flags.config === undefined && flags.model === undefined) {
    throw new CrayonError('bad-option', 'neither --config nor --model is given', {
      hint: 'Name the base model, or a YAML that does: see configs/edge.yaml.',
    });
  }
  return loadEdgeConfig(flags.config ?? null, overridesOf(flags));
}

/** Flags as the keys of the YAML that they stand for; undefined ones override nothing. */
function overridesOf(flags: ServeEdgeFlags): EdgeOverrides {
  const path = (value: string | undefined) => (value === undefined ? undefined : resolve(value));
  const { serverUrl, serverModel, serverKeyEnv } = flags;
  const hasServer = [serverUrl, serverModel, serverKeyEnv].some((x) => x !== undefined);
  // A flag for the key replaces the other way to give it.
  const key =
    flags.apiKeyEnv !== undefined || flags.apiKeyFile !== undefined
      ? { api_key_env: flags.apiKeyEnv ?? null, api_key_file: path(flags.apiKeyFile) ?? null }
      : {};
  return {
    model: path(flags.model),
    name: flags.name,
    adapter: path(flags.adapter),
    pool: path(flags.pool),
    gate: flags.gate,
    examples: path(flags.examples),
    cache_dir: path(flags.cacheDir),
    host: flags.host,
    port: flags.port,
    ...key,
    limits: { queue: flags.queue, max_tokens: flags.maxTokens },
    engine: {
      threads: flags.threads,
      context: flags.context,
      sequences: flags.sequences,
      type: flags.type,
      gpu: flags.gpu === 'false' ? false : flags.gpu,
    },
    routing: { mode: flags.mode },
    ...(hasServer ? { server: { base_url: serverUrl, model: serverModel, api_key_env: serverKeyEnv } } : {}),
    log: { level: flags.logLevel, prompts: flags.logPrompts },
  };
}

const atLeastOne = wholeNumber(1);
const threadCount = (text: string): 'auto' | number => (text === 'auto' ? text : atLeastOne(text));
