/**
 * The configuration of `serve-edge`: YAML (configs/edge.yaml shows every key) and the command line's flags over it, checked
 * and with all defaults filled in.
 */

import { dirname, isAbsolute, join, resolve } from 'node:path';
import { CrayonError } from '../core/errors.js';
import { checked } from '../files/checks.js';
import { isJsonObject, type JsonObject } from '../files/json.js';
import { readYaml } from '../files/yaml.js';
import { EDGE_SCHEMA } from './config-schema.js';

export type EdgeMode = 'prefer_on_device' | 'only_on_device' | 'prefer_in_cloud' | 'only_in_cloud';
export type EdgeGate = 'fixed' | 'per-query';
export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent';

export interface EdgeLimits {
  bodyBytes: number;
  /** messages in one request */
  messages: number;
  /** the most tokens of one answer; a request that asks for more gets this many */
  maxTokens: number;
  /** from the request's arrival to the end of its answer */
  requestMs: number;
  /** requests that may wait for the device */
  queue: number;
  /** customisations kept at a time */
  customizations: number;
}

export interface EdgeEngineConfig {
  threads: 'auto' | number;
  /** tokens of prompt and answer together; null is the model's own, at most 4096 */
  context: number | null;
  /** requests generated at a time */
  sequences: number;
  /** in which an HF directory is exported */
  type: 'F16' | 'F32' | 'Q8_0';
  gpu: 'auto' | 'cuda' | 'vulkan' | 'metal' | false;
}

export interface EdgeRoutingConfig {
  mode: EdgeMode;
  /** whether a request may name another mode */
  modePerRequest: boolean;
  thresholds: {
    scope: number | null;
    complexity: number | null;
    confidence: number | null;
    correctness: number | null;
  };
  /** weights of the probability that the device's answer is right; absent ones are 0 */
  correctness: EdgeCorrectness | null;
  confidence: {
    measure: 'mean-logprob' | 'min-probability' | 'margin' | 'negative-entropy';
    tokens: number | null;
  };
  load: boolean;
  /** 0 for any */
  minFreeBytes: number;
}

export interface EdgeCorrectness {
  intercept: number;
  confidence?: number;
  probability?: number;
  scope?: number;
  logScope?: number;
  complexity?: number;
}

export interface EdgeServerConfig {
  /** up to and with `/v1` */
  baseUrl: string;
  model: string;
  /** name of the environment variable that holds the key; null for none */
  apiKeyEnv: string | null;
  /** null: nothing is counted in money */
  prices: { inputPerMillion: number; outputPerMillion: number; currency: string } | null;
  timeouts: { connectMs: number; firstByteMs: number; idleMs: number; totalMs: number };
  retries: number;
  concurrency: number;
  queue: number;
  /** null is without limit */
  budget: { tokensPerDay: number | null; moneyPerDay: number | null };
  circuit: { failures: number; halfOpenAfterMs: number };
}

export interface EdgeConfig {
  /** GGUF file or Hugging Face directory; absolute, as all paths here */
  model: string;
  /** what /v1/models calls it; null is the model's file name */
  name: string | null;
  /** PEFT directory or GGUF LoRA */
  adapter: string | null;
  pool: string | null;
  gate: EdgeGate;
  /** the user's examples, for the scope signal: any data set */
  examples: string | null;
  cacheDir: string | null;
  host: string;
  /** 0 is any free one */
  port: number;
  /** name of the environment variable that holds the key clients must send */
  apiKeyEnv: string | null;
  apiKeyFile: string | null;
  /** Host headers to accept on loopback, beside localhost and the addresses themselves */
  allowedHosts: string[];
  limits: EdgeLimits;
  engine: EdgeEngineConfig;
  routing: EdgeRoutingConfig;
  server: EdgeServerConfig | null;
  log: { level: LogLevel; prompts: boolean };
}

/** Keys whose values are paths: relative ones start at the YAML file's folder. */
export const PATH_KEYS = ['model', 'adapter', 'pool', 'examples', 'cache_dir', 'api_key_file'];

/** Nested keys as in the YAML, e.g. `{ server: { base_url: 'http://127.0.0.1:8000/v1' } }`; undefined values are left out. */
export type EdgeOverrides = JsonObject;

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
  const yaml = path === null ? {} : readYaml(path).value;
  return edgeConfig(yaml ?? {}, {
    where: path ?? 'command line',
    folder: path === null ? '.' : dirname(path),
    overrides,
  });
}

/**
 * Checks a parsed YAML file.
 *
 * @param options.where names it in errors
 * @param options.folder where its relative paths start
 */
export function edgeConfig(
  yaml: unknown,
  options: { where: string; folder: string; overrides?: EdgeOverrides },
): EdgeConfig {
  const { where, folder, overrides = {} } = options;
  if (!isJsonObject(yaml)) {
    throw new CrayonError('config-invalid', `${where}: expected keys and values at the top level`);
  }
  const merged = merge(withPaths(yaml, folder), withPaths(overrides, '.'));
  const raw = checked<JsonObject>(merged, EDGE_SCHEMA, 'config-invalid', where);
  const config = filled(raw);
  refuseContradictions(config, where);
  return config;
}

function withPaths(values: JsonObject, folder: string): JsonObject {
  const isPath = (key: string, value: unknown): value is string =>
    PATH_KEYS.includes(key) && typeof value === 'string' && value !== '';
  return Object.fromEntries(
    Object.entries(values).map(([key, value]) => [
      key,
      isPath(key, value) ? (isAbsolute(value) ? value : resolve(join(folder, value))) : value,
    ]),
  );
}

/** `over` wins, object by object. */
function merge(under: JsonObject, over: JsonObject): JsonObject {
  const result: JsonObject = { ...under };
  for (const [key, value] of Object.entries(over)) {
    if (value === undefined) continue;
    const before = result[key];
    result[key] = isJsonObject(value) ? merge(isJsonObject(before) ? before : {}, value) : value;
  }
  return result;
}

/** The checked YAML with every default, in the program's own names and units. */
function filled(raw: JsonObject): EdgeConfig {
  const at = (object: unknown) => (isJsonObject(object) ? object : {});
  const or = <T>(value: unknown, fallback: T): T => (value === undefined ? fallback : (value as T));
  const limits = at(raw.limits);
  const engine = at(raw.engine);
  const routing = at(raw.routing);
  const thresholds = at(routing.thresholds);
  const confidence = at(routing.confidence);
  const log = at(raw.log);
  return {
    model: raw.model as string,
    name: or(raw.name, null),
    adapter: or(raw.adapter, null),
    pool: or(raw.pool, null),
    gate: or(raw.gate, 'fixed'),
    examples: or(raw.examples, null),
    cacheDir: or(raw.cache_dir, null),
    host: or(raw.host, '127.0.0.1'),
    port: or(raw.port, 8080),
    apiKeyEnv: or(raw.api_key_env, null),
    apiKeyFile: or(raw.api_key_file, null),
    allowedHosts: or(raw.allowed_hosts, []),
    limits: {
      bodyBytes: or(limits.body_bytes, 2 ** 20),
      messages: or(limits.messages, 256),
      maxTokens: or(limits.max_tokens, 1024),
      requestMs: 1000 * or(limits.request_seconds, 300),
      queue: or(limits.queue, 64),
      customizations: or(limits.customizations, 16),
    },
    engine: {
      threads: or(engine.threads, 'auto'),
      context: or(engine.context, null),
      sequences: or(engine.sequences, 4),
      type: or(engine.type, 'F16'),
      gpu: or(engine.gpu, 'auto'),
    },
    routing: {
      mode: or(routing.mode, 'prefer_on_device'),
      modePerRequest: or(routing.mode_per_request, true),
      thresholds: {
        scope: or(thresholds.scope, null),
        complexity: or(thresholds.complexity, null),
        confidence: or(thresholds.confidence, null),
        correctness: or(thresholds.correctness, null),
      },
      correctness: isJsonObject(routing.correctness) ? correctnessConfig(routing.correctness) : null,
      confidence: { measure: or(confidence.measure, 'mean-logprob'), tokens: or(confidence.tokens, 16) },
      load: or(routing.load, true),
      minFreeBytes: 2 ** 20 * or(routing.min_free_mb, 0),
    },
    server: isJsonObject(raw.server) ? serverConfig(raw.server) : null,
    log: { level: or(log.level, 'info'), prompts: or(log.prompts, false) },
  };

  function correctnessConfig({ intercept = 0, log_scope: logScope, ...weights }: JsonObject): EdgeCorrectness {
    return { intercept, ...weights, ...(logScope === undefined ? {} : { logScope }) } as EdgeCorrectness;
  }

  function serverConfig(server: JsonObject): EdgeServerConfig {
    const prices = at(server.prices);
    const timeouts = at(server.timeouts);
    const budget = at(server.budget);
    const circuit = at(server.circuit);
    return {
      baseUrl: (server.base_url as string).replace(/\/+$/, ''),
      model: server.model as string,
      apiKeyEnv: or(server.api_key_env, null),
      prices: isJsonObject(server.prices)
        ? {
            inputPerMillion: or(prices.input_per_million, 0),
            outputPerMillion: or(prices.output_per_million, 0),
            currency: or(prices.currency, 'USD'),
          }
        : null,
      timeouts: {
        connectMs: 1000 * or(timeouts.connect_seconds, 5),
        firstByteMs: 1000 * or(timeouts.first_byte_seconds, 60),
        idleMs: 1000 * or(timeouts.idle_seconds, 30),
        totalMs: 1000 * or(timeouts.total_seconds, 300),
      },
      retries: or(server.retries, 2),
      concurrency: or(server.concurrency, 8),
      queue: or(server.queue, 64),
      budget: { tokensPerDay: or(budget.tokens_per_day, null), moneyPerDay: or(budget.money_per_day, null) },
      circuit: {
        failures: or(circuit.failures, 5),
        halfOpenAfterMs: 1000 * or(circuit.half_open_after_seconds, 30),
      },
    };
  }
}

/** Keys that are right one by one and wrong together. */
function refuseContradictions(config: EdgeConfig, where: string): void {
  const { routing, server, gate, pool, adapter, examples, apiKeyEnv, apiKeyFile } = config;
  const problems: string[] = [];
  if (server === null && routing.mode.endsWith('_in_cloud')) {
    problems.push(`routing.mode is ${routing.mode}, but there is no server: give server.base_url and server.model`);
  }
  if (gate === 'per-query' && pool === null) problems.push('gate is per-query, which needs a pool');
  if (gate === 'per-query' && adapter !== null) {
    problems.push('gate is per-query, which uses the pool’s adapters: leave out adapter');
  }
  if (routing.thresholds.scope !== null && examples === null) {
    problems.push('routing.thresholds.scope is set, which needs examples: the file that the adapter was blended from');
  }
  if (routing.thresholds.correctness !== null) {
    const { intercept: _, ...weights } = routing.correctness ?? { intercept: 0 };
    if (!Object.values(weights).some((weight) => weight !== 0)) {
      problems.push('routing.thresholds.correctness is set, which needs weights in routing.correctness');
    }
    if (((weights.scope ?? 0) !== 0 || (weights.logScope ?? 0) !== 0) && examples === null) {
      problems.push(
        'routing.correctness weighs the scope, which needs examples: the file the adapter was blended from',
      );
    }
  }
  if (server !== null && server.prices === null && server.budget.moneyPerDay !== null) {
    problems.push('server.budget.money_per_day is set, which needs server.prices');
  }
  if (apiKeyEnv !== null && apiKeyFile !== null) problems.push('api_key_env and api_key_file are both given');
  if (problems.length > 0) throw new CrayonError('config-invalid', `${where}: ${problems.join('; ')}`);
}
