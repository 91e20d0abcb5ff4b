/** The flags that say which model, adapter and server, and the configuration that they stand for. */

import { type Command, Option } from 'commander';
import { CrayonError } from '../core/errors.js';
import { GPUS, type Gpu } from '../engine/llama/runtime.js';
import { GGUF_WRITE_TYPES, type GgufWriteType } from '../gguf/quantise.js';
import { MODES, type Mode } from '../routing/types.js';
import { type EdgeConfig, type EdgeOverrides, GATES, type LOG_LEVELS, loadEdgeConfig } from '../serve/config.js';
import { wholeNumber } from './options.js';

export interface ServeEdgeFlags {
  config?: string;
  model?: string;
  name?: string;
  adapter?: string;
  pool?: string;
  gate?: (typeof GATES)[number];
  examples?: string;
  cacheDir?: string;
  serverUrl?: string;
  serverModel?: string;
  serverKeyEnv?: string;
  mode?: Mode;
  host?: string;
  port?: number;
  apiKey?: string;
  apiKeyEnv?: string;
  apiKeyFile?: string;
  threads?: 'auto' | number;
  context?: number;
  sequences?: number;
  type?: GgufWriteType;
  gpu?: Gpu | 'false';
  queue?: number;
  maxTokens?: number;
  logLevel?: (typeof LOG_LEVELS)[number];
  logPrompts?: boolean;
  stopSeconds: number;
}

/** The flags that say which model, adapter and server: `serve-edge` and whatever else assembles one. */
export function edgeOptions(command: Command): Command {
  return command
    .option('--model <path>', 'base model: a Hugging Face directory or a GGUF file')
    .option('--name <name>', "what /v1/models calls it (default: the model's file name)")
    .option('--adapter <path>', 'adapter from crayon blend (a PEFT directory), or a GGUF LoRA')
    .option('--pool <dir>', 'pool from build-pool: for --gate per-query and POST /v1/customizations')
    .addOption(
      new Option('--gate <kind>', 'one adapter for all requests, or the pool’s weighed for each prompt').choices(GATES),
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
    .addOption(new Option('--type <type>', 'how a Hugging Face directory is exported').choices(GGUF_WRITE_TYPES))
    .addOption(new Option('--gpu <kind>', 'what llama.cpp runs on').choices(GPUS.map(String)));
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
  const { model, name, adapter, pool, gate, examples, cacheDir: cache_dir, host, port, apiKeyEnv, apiKeyFile } = flags;
  const { threads, context, sequences, type } = flags;
  const server = { base_url: flags.serverUrl, model: flags.serverModel, api_key_env: flags.serverKeyEnv };
  // A flag for the key replaces the other way to give it.
  const hasKey = apiKeyEnv !== undefined || apiKeyFile !== undefined;
  const key = hasKey ? { api_key_env: apiKeyEnv ?? null, api_key_file: apiKeyFile ?? null } : {};
  return {
    model,
    name,
    adapter,
    pool,
    gate,
    examples,
    cache_dir,
    host,
    port,
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
