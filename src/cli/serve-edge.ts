/** `crayon serve-edge`: the customised model behind an OpenAI-compatible API, with the server LLM for what it is not sure of. */

import { once } from 'node:events';
import type { Command } from 'commander';
import { CrayonError } from '../core/errors.js';
import { printable } from '../core/format.js';
import { GPUS, type Gpu } from '../engine/llama/runtime.js';
import { CRAYON_VERSION } from '../files/package.js';
import { GGUF_FILE_TYPE_NAMES } from '../gguf/file-types.js';
import type { PromptFormName } from '../hf/prompt-form.js';
import { MODES, type Mode } from '../routing/types.js';
import { APP_DEFAULTS, createEdgeApp, type EdgeApp } from '../serve/app.js';
import { assembleEdge, type EdgeAssembly } from '../serve/assemble.js';
import { type EdgeConfig, type EdgeOverrides, GATES, LOG_LEVELS, loadEdgeConfig } from '../serve/config.js';
import { createCors } from '../serve/http/cors.js';
import { createGuard } from '../serve/http/guard.js';
import { type Listening, listen } from '../serve/http/listen.js';
import { clientKey } from '../serve/keys.js';
import { createLog, type Logger } from '../serve/log.js';
import { createMetrics } from '../serve/metrics.js';
import { hasPlayground } from '../serve/playground/routes.js';
import { anyBaseOption, choice, promptFormOption, wholeNumber } from './options.js';
import { stopSignal } from './stop-signal.js';
import type { Terminal } from './terminal.js';

interface Flags
  extends Pick<
      EdgeOverrides,
      'model' | 'name' | 'adapter' | 'pool' | 'gate' | 'examples' | 'host' | 'port' | 'playground'
    >,
    Pick<NonNullable<EdgeOverrides['engine']>, 'threads' | 'context' | 'sequences' | 'type'> {
  config?: string;
  promptForm?: PromptFormName;
  poolKeyEnv?: string;
  anyBase: boolean;
  cacheDir?: string;
  stateDir?: string;
  serverUrl?: string;
  serverModel?: string;
  serverKeyEnv?: string;
  mode?: Mode;
  apiKey?: string;
  apiKeyEnv?: string;
  apiKeyFile?: string;
  gpu?: Gpu | 'false';
  queue?: number;
  maxTokens?: number;
  logLevel?: (typeof LOG_LEVELS)[number];
  logPrompts?: boolean;
  stopSeconds: number;
}

const HELP = `
Flags override the keys of --config. Any client of OpenAI's API, or of Ollama's, can use the server:

Examples:
  $ crayon serve-edge --config configs/edge.yaml
  $ crayon serve-edge --model models/crayon-edge --adapter my-adapter
  $ crayon serve-edge --model models/crayon-edge --pool models/crayon-edge-pool --gate per-query
  $ crayon serve-edge --model model.gguf --adapter my-adapter --server-url http://127.0.0.1:8000/v1 --server-model big \\
      --server-key-env BIG_KEY --mode prefer_on_device
  $ curl http://127.0.0.1:8080/v1/chat/completions -H 'content-type: application/json' \\
      -d '{"model": "crayon-edge", "messages": [{"role": "user", "content": "Hello"}]}'

SIGINT and SIGTERM let running requests finish, then end with exit code 0.`;

export function serveEdgeCommand(command: Command, terminal: Terminal): void {
  command
    .option('--config <yaml>', 'configuration with all keys (see configs/edge.yaml)')
    .option('--model <path>', 'base model: a Hugging Face directory or a GGUF file')
    .option('--name <name>', "what /v1/models calls it (default: the model's file name)")
    .option('--adapter <path>', 'adapter from crayon blend (a PEFT directory), or a GGUF LoRA')
    .option('--pool <place>', 'pool from build-pool, or its address: for --gate per-query and POST /v1/customizations')
    .option('--pool-key-env <name>', 'environment variable that holds the key of a pool by address')
    .addOption(choice('--gate <kind>', 'one adapter for all requests, or the pool’s weighed for each prompt', GATES))
    .addOption(promptFormOption("the adapter's or pool's own, else chat where the model has a chat template"))
    .addOption(anyBaseOption())
    .option('--examples <file>', 'the examples that the adapter was blended from, for the scope signal')
    .option('--cache-dir <dir>', 'where exported GGUF files and fetched pools are kept')
    .option('--state-dir <dir>', 'where customisations outlive the server')
    .option('--server-url <url>', 'the larger LLM: an OpenAI-compatible endpoint, up to /v1')
    .option('--server-model <name>', 'its model')
    .option('--server-key-env <name>', 'environment variable that holds its key')
    .addOption(choice('--mode <mode>', 'who answers', MODES))
    .option('--threads <n>', 'of the engine, or auto: measured at start', threadCount)
    .option('--context <tokens>', 'of prompt and answer together', wholeNumber(16))
    .option('--sequences <n>', 'requests generated at a time', wholeNumber(1))
    .addOption(choice('--type <type>', 'how a Hugging Face directory is exported', GGUF_FILE_TYPE_NAMES))
    .addOption(choice('--gpu <kind>', 'what llama.cpp runs on', GPUS.map(String)))
    .option('--host <address>', 'address to bind to (default: 127.0.0.1; any other needs an API key)')
    .option('--port <n>', 'port to listen on, 0 for any free one (default: 8080)', wholeNumber(0, 65_535))
    .option(
      '--api-key <key>',
      'the key that clients must send; other users of this machine may see it in its process list',
    )
    .option('--api-key-env <name>', 'environment variable that holds it')
    .option('--api-key-file <file>', 'file that holds it')
    .option('--playground', 'a page at / in which the server is tried (default: on loopback without a key)')
    .option('--no-playground', 'no such page')
    .option('--queue <n>', 'requests that may wait for the device', wholeNumber(0))
    .option('--max-tokens <n>', 'the most tokens of one answer', wholeNumber(1))
    .addOption(choice('--log-level <level>', 'of the log on stderr', LOG_LEVELS))
    .option('--log-prompts', 'write prompts into the log; those under only_on_device never are')
    .option('--stop-seconds <n>', 'how long running requests may take to finish at the end', wholeNumber(0, 3600), 30)
    .addHelpText('after', HELP)
    .action((flags: Flags) => runServeEdge(flags, terminal));
}

async function runServeEdge(flags: Flags, terminal: Terminal): Promise<void> {
  const { stderr, env } = terminal.streams;
  const config = configOf(flags);
  const apiKey = clientKey(config, env, flags.apiKey ?? null);
  const pretty = (stderr as NodeJS.WriteStream).isTTY === true && !env.NO_COLOR;
  const log = createLog({ level: config.log.level, stream: stderr, pretty });
  const metrics = createMetrics();
  const guard = createGuard({ apiKey, host: config.host, allowedHosts: config.allowedHosts });
  const { limits, routing, choose, keepExamples } = config;
  const withPage = hasPlayground(config, apiKey);
  const app = createEdgeApp({
    ...APP_DEFAULTS,
    guard,
    cors: createCors(config.allowedOrigins),
    limits,
    routing,
    choose,
    keepExamples,
    playground: withPage ? async () => (await import('../serve/playground/bundle.js')).bundledPage() : null,
    log,
    logPrompts: config.log.prompts,
    metrics,
  });

  // The first SIGINT or SIGTERM asks for a graceful stop; the next one ends the process as it always does.
  const { signal, release } = stopSignal();
  const stopped = once(signal, 'abort');
  let parts: EdgeAssembly | undefined;
  let server: Listening | undefined;
  try {
    // The port first: what cannot be listened on should not cost a model's loading, and /health says "loading" meanwhile.
    server = await listen(app, { host: config.host, port: config.port });
    const loading = assembleEdge(config, {
      env,
      onStep: (step) => terminal.note(STEPS[step] ?? step),
      onServerEvent: (event) => {
        metrics.upstream(event);
        if (event.type !== 'usage' && event.type !== 'finish') log.warn({ ...event }, 'server LLM');
      },
    });
    const first = await Promise.race([loading, stopped]);
    if (Array.isArray(first)) {
      void loading.then((late) => late.close()).catch(() => {});
    } else {
      parts = first;
      app.ready(parts);
      announce(config, parts, server, { hasKey: apiKey !== null, withPage }, terminal);
      await stopped;
    }
    await stop(server, app, flags.stopSeconds, terminal, log);
    server = undefined;
  } finally {
    release();
    await server?.stop(0);
    await parts?.close();
  }
}

const STEPS: Record<string, string> = {
  model: 'Opening the model (a Hugging Face directory is exported to GGUF once)',
  adapters: 'Preparing the adapters',
  engine: 'Loading it into llama.cpp',
};

async function stop(server: Listening, app: EdgeApp, seconds: number, terminal: Terminal, log: Logger): Promise<void> {
  const { running } = app;
  terminal.note(running === 0 ? 'Stopping' : `Stopping once ${running} requests are done, at most ${seconds} s`);
  const ended = await server.stop(seconds * 1000);
  if (ended > 0) log.warn({ ended }, 'requests ended before they were done');
}

function announce(
  config: EdgeConfig,
  { base, facts, device, scope, customizations }: EdgeAssembly,
  { url, host, port }: Listening,
  { hasKey, withPage }: { hasKey: boolean; withPage: boolean },
  terminal: Terminal,
): void {
  terminal.document({
    url,
    host,
    port,
    model: base,
    mode: config.routing.mode,
    gate: config.gate,
    server: config.server?.model ?? null,
    customizations: customizations !== null,
    playground: withPage,
    pid: process.pid,
  });
  const thresholds = Object.entries(config.routing.thresholds)
    .map(([name, cut]) => `${name} ${cut ?? 'off'}`)
    .join(', ');
  const rows: Array<[string, string]> = [
    [
      'Model',
      `${base} (${facts.model}), context of ${device.contextTokens} tokens${facts.threads === null ? '' : `, threads: ${facts.threads}`}`,
    ],
    ['Adapter', facts.adapter],
    ['Prompts', facts.promptForm],
    ['Server', facts.server],
    ['Mode', config.server === null ? config.routing.mode : `${config.routing.mode}; thresholds: ${thresholds}`],
    ['Scope', scope === null ? 'no examples' : `${config.examples}`],
    ['Blends', customizations === null ? 'off (no pool)' : `POST ${url}/v1/customizations`],
    ['Key', hasKey ? 'required' : 'none (this machine only)'],
    ['Page', withPage ? `${url}/` : 'off'],
    ['Listens', url],
  ];
  const lines = [
    `crayon ${CRAYON_VERSION} serve-edge`,
    ...rows.map(([name, text]) => `  ${name.padEnd(8)} ${printable(text)}`),
  ];
  const auth = hasKey ? ` -H "authorization: Bearer $KEY"` : '';
  lines.push(
    '',
    `  curl ${url}/v1/chat/completions -H 'content-type: application/json'${auth} \\`,
    `    -d '{"model": "${base}", "messages": [{"role": "user", "content": "Hello"}]}'`,
    '',
  );
  if (!terminal.quiet) terminal.say(lines.join('\n'));
}

/** @throws CrayonError `config-invalid`, `bad-option` */
function configOf(flags: Flags): EdgeConfig {
  if (flags.config === undefined && flags.model === undefined) {
    throw new CrayonError('bad-option', 'neither --config nor --model is given', {
      hint: 'Name the base model, or a YAML that does: see configs/edge.yaml.',
    });
  }
  return loadEdgeConfig(flags.config ?? null, overridesOf(flags));
}

/** Flags as the keys of the YAML that they stand for; undefined ones override nothing. */
function overridesOf(flags: Flags): EdgeOverrides {
  const { model, name, adapter, pool, gate, examples, cacheDir: cache_dir, stateDir: state_dir } = flags;
  const { host, port, apiKeyEnv, apiKeyFile } = flags;
  const { threads, context, sequences, type, playground } = flags;
  const server = { base_url: flags.serverUrl, model: flags.serverModel, api_key_env: flags.serverKeyEnv };
  // A flag for the key replaces the other way to give it.
  const hasKey = apiKeyEnv !== undefined || apiKeyFile !== undefined;
  const key = hasKey ? { api_key_env: apiKeyEnv ?? null, api_key_file: apiKeyFile ?? null } : {};
  return {
    model,
    name,
    adapter,
    pool,
    pool_key_env: flags.poolKeyEnv,
    gate,
    prompt_form: flags.promptForm,
    any_base: flags.anyBase || undefined,
    examples,
    cache_dir,
    state_dir,
    host,
    port,
    playground,
    ...key,
    limits: { queue: flags.queue, max_tokens: flags.maxTokens },
    engine: { threads, context, sequences, type, gpu: flags.gpu === 'false' ? false : flags.gpu },
    routing: { mode: flags.mode },
    server: Object.values(server).some((flag) => flag !== undefined) ? server : undefined,
    log: { level: flags.logLevel, prompts: flags.logPrompts },
  };
}

const atLeastOne = wholeNumber(1);
const threadCount = (text: string): 'auto' | number => (text === 'auto' ? text : atLeastOne(text));
