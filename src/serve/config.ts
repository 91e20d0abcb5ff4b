/**
 * The configuration of `serve-edge`: YAML (configs/edge.yaml shows every key) and the command line's flags over it, checked
 * and with all defaults filled in.
 */

import { dirname, resolve } from 'node:path';
import type * as z from 'zod';
import { serverOptions } from '../engine/server/options.js';
import { isJsonObject, type JsonObject } from '../files/json.js';
import { camelCased, checked, type Problem, refuseProblems, type Source, valueAt } from '../files/schema.js';
import { readYaml } from '../files/yaml.js';
import { EDGE_SCHEMA } from './config-schema.js';

/** A checked configuration in the program's own names and units: camelCase, milliseconds and bytes. */
export type EdgeConfig = ReturnType<typeof inOurUnits>;

/** Keys whose values are paths: relative ones start at the YAML file's folder. */
export const PATH_KEYS: readonly string[] = [
  'model',
  'adapter',
  'pool',
  'examples',
  'cache_dir',
  'api_key_file',
] satisfies Array<keyof z.input<typeof EDGE_SCHEMA>>;

/** Nested keys as in the YAML, e.g. `{ server: { base_url: 'http://127.0.0.1:8000/v1' } }`; undefined values are left out. */
export type EdgeOverrides = Partly<z.input<typeof EDGE_SCHEMA>>;
type Partly<T> = T extends readonly unknown[] | null ? T : T extends object ? { [K in keyof T]?: Partly<T[K]> } : T;

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
  const { where, folder, overrides = {}, lineOf } = options;
  const source: Source = {
    where,
    code: 'config-invalid',
    // What a flag said stands on no line.
    lineOf: (path) => (valueAt(overrides, path) === undefined ? lineOf?.(path) : undefined),
  };
  const whole = isJsonObject(yaml) ? merge(withPaths(yaml, folder), withPaths(overrides, '.')) : yaml;
  const config = inOurUnits(checked(EDGE_SCHEMA, whole, source));
  refuseProblems(contradictions(config), source);
  return config;
}

function inOurUnits(yaml: z.output<typeof EDGE_SCHEMA>) {
  const { limits, routing, server: _, ...config } = camelCased(EDGE_SCHEMA, yaml);
  const { requestSeconds, ...counts } = limits;
  const { minFreeMb, ...rule } = routing;
  return {
    ...config,
    limits: { ...counts, requestMs: 1000 * requestSeconds },
    routing: { ...rule, minFreeBytes: 2 ** 20 * minFreeMb },
    server: yaml.server && serverOptions(yaml.server),
  };
}

function withPaths(values: JsonObject, folder: string): JsonObject {
  const isPath = (key: string, value: unknown): value is string =>
    PATH_KEYS.includes(key) && typeof value === 'string' && value !== '';
  return Object.fromEntries(
    Object.entries(values).map(([key, value]) => [key, isPath(key, value) ? resolve(folder, value) : value]),
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

/** Keys that are right one by one and wrong together. */
function contradictions(config: EdgeConfig): Problem[] {
  const { routing, server, gate, pool, adapter, examples, apiKeyEnv, apiKeyFile } = config;
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
  if (routing.thresholds.correctness !== null) {
    const { intercept: _, ...weights } = routing.correctness ?? { intercept: 0 };
    if (!Object.values(weights).some((weight) => weight !== 0)) {
      refuse('routing.thresholds.correctness', 'is set, which needs weights in routing.correctness');
    }
    if (((weights.scope ?? 0) !== 0 || (weights.logScope ?? 0) !== 0) && examples === null) {
      refuse('routing.correctness', `weighs the scope, which ${fromExamples}`);
    }
  }
  if (apiKeyEnv !== null && apiKeyFile !== null) refuse('api_key_env', 'and api_key_file are both given');
  return problems;
}
