/**
 * The configuration of `serve-edge`: YAML (configs/edge.yaml shows every key, configs/schema/edge.json is made of EDGE_SCHEMA for
 * editors) and the command line's flags over it, checked and with all defaults filled in. Its `routing` section is config-routing.ts; keys that it says where to find: keys.ts.
 */

import { dirname } from 'node:path';
import * as z from 'zod';
import { GPUS } from '../engine/llama/runtime.js';
import { type Partly, SERVER_SECTION, seconds, serverOptions } from '../engine/server/options.js';
import {
  camelCased,
  checked,
  matching,
  orNull,
  type Problem,
  rate,
  refuseProblems,
  type Source,
  text,
  valueAt,
  variableName,
  whole,
} from '../files/schema.js';
import { readYaml } from '../files/yaml.js';
import { GGUF_FILE_TYPE_NAMES } from '../gguf/file-types.js';
import { PROMPT_FORMS } from '../hf/prompt-form.js';
import { ROUTING_SECTION } from './config-routing.js';
import { ORIGIN } from './http/cors.js';
import { overlaid } from './overrides.js';

/** One adapter for all requests, or the pool's weighed anew for each prompt. */
export const GATES = ['fixed', 'per-query'] as const;
export const LOG_LEVELS = ['debug', 'info', 'warn', 'error', 'silent'] as const;

const limits = z.strictObject({
  body_bytes: whole(1024).default(1_048_576).describe('The largest body of a request.'),
  messages: whole(1).default(256).describe('The most messages in one request.'),
  prompts: whole(1).default(64).describe('The most prompts in one request of /v1/completions.'),
  echo_tokens: whole(1)
    .default(65_536)
    .describe('The most tokens of all prompts of one request together that are sent back with `echo`.'),
  stops: whole(1).default(16).describe('The most stop texts of one request.'),
  max_tokens: whole(1)
    .default(1024)
    .describe(
      'The most tokens of one answer; a request for more gets this many, and finish_reason "length". Where neither this key nor a request sets a number, the server LLM is told none, and its own limit holds.',
    ),
  request_seconds: seconds.default(300).describe("From the request's arrival to the end of its answer."),
  queue: whole(0)
    .default(64)
    .describe(
      'Requests that may wait for the device; the next gets 429 with Retry-After, or the server where the mode allows.',
    ),
  customizations: whole(0).default(1000).describe('Customisations kept at a time.'),
  merged_customizations: whole(0)
    .default(16)
    .describe(
      'Of them, those that are merged to an adapter of their own: a file each, as large as several of the pool.',
    ),
  choose_seconds: seconds
    .default(120)
    .describe(
      'For a customisation that its examples choose: candidates that this time does not reach are not tried. At most four fifths of request_seconds.',
    ),
});

const engine = z.strictObject({
  threads: z
    .union([z.literal('auto'), whole(1)])
    .default('auto')
    .describe('auto: measured once at start.'),
  context: orNull(whole(16)).describe(
    "Tokens of prompt and answer together. null: the model's own, at most 4096, and less where the memory is short.",
  ),
  sequences: whole(1).default(4).describe('Requests generated at a time.'),
  kv_type: z
    .enum(['F16', 'Q8_0'])
    .default('F16')
    .describe('Number type of the cached keys and values. Q8_0 takes half the memory of F16.'),
  type: z.enum(GGUF_FILE_TYPE_NAMES).default('F16').describe('How a Hugging Face directory is exported.'),
  stack_adapters: z
    .boolean()
    .default(true)
    .describe(
      "Whether a mixture of three or more of the pool's adapters is applied as one that is made for it: a tenth of a second for a new mixture, and then several times as fast. Of a large pool it is rounded to 8 bits.",
    ),
  gpu: z.literal(GPUS).default('auto').describe('What llama.cpp runs on; false is the processor alone.'),
});

/** Keys, defaults and descriptions stand here and nowhere else. */
export const EDGE_SCHEMA = z.strictObject({
  model: text.describe(
    'The base model: a Hugging Face directory (exported once to a GGUF in the cache) or a GGUF file.',
  ),
  // It stands in `<base>:<customisation>`, in headers and in logs.
  name: orNull(matching(/^[\w.@/+-]{1,128}$/, 'letters, digits and . _ @ / + - only')).describe(
    "What /v1/models calls it. null: the model's file name.",
  ),
  adapter: orNull(text).describe(
    "The adapter of the user's task: a PEFT directory from `crayon blend`, or a GGUF LoRA.",
  ),
  pool: orNull(text).describe(
    'A pool from `crayon build-pool`, or its http(s) address: needed for `gate: per-query` and POST /v1/customizations.',
  ),
  pool_key_env: variableName.describe(
    'The name of an environment variable that holds the key of a pool by address. Never the key itself.',
  ),
  pool_cache_mib: orNull(whole(1)).describe(
    'The most that all fetched pools may take in cache_dir, in MiB. null: 4096.',
  ),
  gate: z
    .enum(GATES)
    .default('fixed')
    .describe("fixed: the adapter above, for every request. per-query: the pool's adapters, weighed for each prompt."),
  choose: z
    .boolean()
    .default(false)
    .describe(
      'Whether the examples of a customisation choose how they are blended, where they have answers and the request neither says nor decides. It takes many times as long.',
    ),
  blend: z
    .enum(['scales', 'merged'])
    .default('scales')
    .describe(
      "How a customisation is served where its request has no `combine`. scales: the pool's adapters, each times its coefficient: no file of its own. merged: one adapter in a file of its own (`cat`).",
    ),
  drop_below: rate
    .default(0.1)
    .describe(
      'Of the adapters of a customisation at scales: coefficients below this share of the largest are dropped, and the others take up their weight, since each adapter costs time and memory. 0 keeps all. Those that a request gives stay as they are.',
    ),
  gate_top_k: orNull(whole(1)).describe(
    'With a mixture for each prompt (`gate: per-query`, and customisations that choose one): adapters that a prompt gets at most. The others leave their weight to those that are kept; a general adapter is beside them. null: all.',
  ),
  gate_drop_below: rate
    .default(0)
    .describe('As drop_below, of the mixture of each prompt with `gate: per-query`. Single prompts are less decided.'),
  state_dir: orNull(z.union([z.literal(false), text])).describe(
    'Where customisations outlive the server, a small file each. null: a folder of this pool and model in $XDG_STATE_HOME/crayon or ~/.local/state/crayon. false: nowhere.',
  ),
  keep_examples: z
    .boolean()
    .default(false)
    .describe('Whether those files hold the texts of the examples too; else numbers alone.'),
  prompt_form: orNull(z.enum(PROMPT_FORMS)).describe(
    'How conversations are given to the model: through its chat template, or as plain text. ' +
      'null: as the adapter or the pool was trained; without either, chat where the model has a chat template.',
  ),
  any_base: z
    .boolean()
    .default(false)
    .describe('Take an adapter or a pool of another base model: a warning in place of the refusal.'),
  examples: orNull(text).describe(
    'The examples that the adapter was blended from, any data set: what "in scope" is measured against.',
  ),
  clusters: orNull(text).describe(
    "A file of clusters of prompts that routing's rates are of, instead of the pool's own. `crayon calibrate` writes it.",
  ),
  cache_dir: orNull(text).describe(
    'Where exported GGUF files and fetched pools are kept. null: $XDG_CACHE_HOME/crayon or ~/.cache/crayon.',
  ),
  host: text.default('127.0.0.1').describe('Any other host than a loopback address needs an API key.'),
  port: whole(0, 65_535).default(8080).describe('0 takes any free port and says which.'),
  api_key_env: variableName.describe(
    'The name of an environment variable that holds the key clients must send. Never the key itself.',
  ),
  api_key_file: orNull(text).describe('A file that holds it.'),
  allowed_hosts: z
    .array(text)
    .default([])
    .describe(
      'Host headers to accept on loopback beside localhost, 127.0.0.1 and [::1]; others are refused (DNS rebinding).',
    ),
  allowed_origins: z
    .array(matching(ORIGIN, 'an origin such as http://localhost:5173, without a path; or "*" for every page'))
    .default([])
    .describe('Origins of the web pages that may use the server from a browser (CORS). None unless named.'),
  playground: orNull(z.boolean()).describe('Whether / is the playground. null: on loopback, where no key is needed.'),
  limits: limits.prefault({}).describe('What one client may ask for.'),
  memory_mib: orNull(whole(1)).describe(
    'Of the process with the model, the cache of keys and values, and the adapters, in MiB. null: what the machine can give at start; a context that is not named is then made to fit. What does not fit is refused at start.',
  ),
  engine: engine.prefault({}).describe('How the device runs the model.'),
  routing: ROUTING_SECTION.prefault({}).describe('Who answers which query.'),
  server: orNull(SERVER_SECTION).describe(
    'The larger LLM: any OpenAI-compatible endpoint. null: none, the device answers everything.',
  ),
  log: z
    .strictObject({
      level: z.enum(LOG_LEVELS).default('info').describe('Of the log on stderr.'),
      prompts: z.boolean().default(false).describe('Whether prompts are logged. Those under only_on_device never are.'),
    })
    .prefault({})
    .describe('What the log holds.'),
});

/** A checked configuration in the program's own names and units: camelCase, milliseconds and bytes. */
export type EdgeConfig = ReturnType<typeof inOurUnits>;

/** Keys whose values are paths: relative ones start at the YAML file's folder. */
export const PATH_KEYS: readonly string[] = [
  'model',
  'adapter',
  'pool',
  'examples',
  'clusters',
  'cache_dir',
  'state_dir',
  'api_key_file',
] satisfies Array<keyof z.input<typeof EDGE_SCHEMA>>;

/** Nested keys as in the YAML, e.g. `{ server: { base_url: 'http://127.0.0.1:8000/v1' } }`; undefined values are left out. */
export type EdgeOverrides = Partly<z.input<typeof EDGE_SCHEMA>>;

/**
 * Reads the YAML file, lays `overrides` over it and checks the whole.
 *
 * @param path null for no file: everything comes from the overrides
 * @param overrides paths among them start at the working directory
 * @throws CrayonError `yaml-invalid`, `file-not-found`, `config-invalid` naming every bad or unknown key
 *
 * @example
 * loadEdgeConfig('configs/edge.yaml', { port: 0, routing: { mode: 'only_on_device' } });
 */
export function loadEdgeConfig(path: string | null, overrides: EdgeOverrides = {}): EdgeConfig {
  if (path === null) return edgeConfig({}, { where: 'command line', folder: '.', overrides });
  const { value, lineOf } = readYaml(path);
  return edgeConfig(value ?? {}, { where: path, folder: dirname(path), overrides, lineOf });
}

/**
 * Checks a parsed YAML file.
 *
 * @param options.where names it in errors
 * @param options.folder where its relative paths start
 */
export function edgeConfig(
  yaml: unknown,
  options: Omit<Source, 'code'> & { folder: string; overrides?: EdgeOverrides },
): EdgeConfig {
  const { overrides = {} } = options;
  const { whole, source } = overlaid(yaml, { ...options, overrides, pathKeys: PATH_KEYS });
  const config = inOurUnits(
    checked(EDGE_SCHEMA, whole, source),
    valueAt(whole, ['limits', 'max_tokens']) !== undefined,
  );
  refuseProblems(contradictions(config), source);
  return config;
}

/** @param isMaxTokensGiven whether the file or a flag says `limits.max_tokens`: a server is told no default of ours */
function inOurUnits(yaml: z.output<typeof EDGE_SCHEMA>, isMaxTokensGiven: boolean) {
  const { limits, routing, server: _, ...config } = camelCased(EDGE_SCHEMA, yaml);
  const { requestSeconds, chooseSeconds, ...counts } = limits;
  const { minFreeMb, ...rule } = routing;
  return {
    ...config,
    limits: {
      ...counts,
      requestMs: 1000 * requestSeconds,
      // What is chosen must still be made.
      chooseSeconds: Math.min(chooseSeconds, 0.8 * requestSeconds),
      isMaxTokensGiven,
    },
    routing: { ...rule, minFreeBytes: 2 ** 20 * minFreeMb },
    server: yaml.server && serverOptions(yaml.server),
  };
}

/** Keys that are right one by one and wrong together. */
function contradictions(config: EdgeConfig): Problem[] {
  const { routing, server, gate, pool, adapter, examples, apiKeyEnv, apiKeyFile, allowedOrigins } = config;
  const problems: Problem[] = [];
  const refuse = (path: string, message: string) =>
    problems.push({ path: path.split('.'), message: `${path} ${message}` });
  if (server === null && routing.mode.endsWith('_in_cloud')) {
    refuse('routing.mode', `is ${routing.mode}, but there is no server: give server.base_url and server.model`);
  }
  if (gate === 'per-query' && pool === null) refuse('gate', 'is per-query, which needs a pool');
  if (gate === 'per-query' && adapter !== null) {
    refuse('gate', 'is per-query, which uses the pool’s adapters: leave out adapter');
  }
  const fromExamples = 'needs examples: the file that the adapter was blended from';
  if (routing.thresholds.scope !== null && examples === null) {
    refuse('routing.thresholds.scope', `is set, which ${fromExamples}`);
  }
  const lacksClusters = pool === null && config.clusters === null;
  const rates = [
    ['success', routing.success],
    ['server_success', routing.serverSuccess],
  ] as const;
  /** What rates of clusters lack, of the first `count` lists. */
  const lacking = (count: number) => {
    if (lacksClusters) return 'needs a pool, which has the clusters, or a file of them in clusters';
    const missing = rates.slice(0, count).find(([, list]) => list === null);
    return missing && `needs rates in routing.${missing[0]}`;
  };
  for (const [name, count] of [
    ['success', 1],
    ['advantage', 2],
    ['gain', 2],
  ] as const) {
    const needs = routing.thresholds[name] === null ? undefined : lacking(count);
    if (needs !== undefined) refuse(`routing.thresholds.${name}`, `is set, which ${needs}`);
  }
  const [device, other] = rates.map(([, list]) => list?.length);
  if (device !== undefined && other !== undefined && device !== other) {
    refuse('routing.server_success', `has ${other} rates, expected ${device} as routing.success`);
  }
  const weighing = (['correctness', 'gain'] as const).find((name) => routing.thresholds[name] !== null);
  if (weighing !== undefined) {
    const { intercept: _, ...weights } = routing.correctness ?? { intercept: 0 };
    if (!Object.values(weights).some((weight) => weight !== 0)) {
      refuse(`routing.thresholds.${weighing}`, 'is set, which needs weights in routing.correctness');
    }
    if (((weights.scope ?? 0) !== 0 || (weights.logScope ?? 0) !== 0) && examples === null) {
      refuse('routing.correctness', `weighs the scope, which ${fromExamples}`);
    }
    const needs = (weights.success ?? 0) === 0 ? undefined : lacking(1);
    if (needs !== undefined) refuse('routing.correctness', `weighs the success rate of clusters, which ${needs}`);
  }
  if (routing.correctnessMap !== null && routing.correctness === null) {
    refuse('routing.correctness_map', 'is set, which needs weights in routing.correctness');
  }
  if (routing.correctnessShift !== 0 && routing.correctness === null) {
    refuse('routing.correctness_shift', 'is set, which needs weights in routing.correctness');
  }
  if (routing.serverShift !== 0 && routing.serverSuccess === null) {
    refuse('routing.server_shift', 'is set, which needs rates in routing.server_success');
  }
  if (apiKeyEnv !== null && apiKeyFile !== null) refuse('api_key_env', 'and api_key_file are both given');
  const everyPage = allowedOrigins.find((origin) => ['*', 'null'].includes(origin.toLowerCase()));
  if (everyPage !== undefined && apiKeyEnv === null && apiKeyFile === null) {
    refuse(
      'allowed_origins',
      `has "${everyPage}", which lets any web page use the server: name origins, or give api_key_env`,
    );
  }
  return problems;
}
