/**
 * The configuration of `crayon bench`, in YAML (configs/bench shows it): which model, which pool, which users, and which
 * ways of customising are compared.
 *
 * Relative paths start at the working directory, like those on a command line; what is not there is looked for in the
 * package itself, so that the shipped models and suite are found from anywhere.
 */

import { isAbsolute } from 'node:path';
import { EXAMPLE_LIMITS } from '../blend/estimate.js';
import { CrayonError } from '../core/errors.js';
import {
  checked,
  either,
  flag,
  listOf,
  object,
  oneOf,
  optional,
  positive,
  text,
  value,
  whole,
} from '../files/checks.js';
import { isJsonObject, type JsonObject } from '../files/json.js';
import { shippedPath } from '../files/package-root.js';
import { exists } from '../files/paths.js';
import { readYaml } from '../files/yaml.js';
import {
  type BenchDevice,
  type BenchLive,
  type BenchLoad,
  DEVICES_SCHEMA,
  LIVE_SCHEMA,
  LOAD_SCHEMA,
  liveContradictions,
  liveDefaults,
  loadDefaults,
} from './live/config.js';

/** The ways of customising, in the order of the tables. */
export const BENCH_STRATEGIES = [
  'base',
  'in-context',
  'uniform',
  'random',
  'nearest',
  'one-lora',
  'one-lora-total',
  'few-shot-lora',
  'lorahub',
  'lorahub-delta',
  'crayon',
  'per-query',
  'server',
] as const;
export type BenchStrategy = (typeof BENCH_STRATEGIES)[number];

export interface BenchPool {
  /** a finished pool to use instead of building one */
  dir?: string;
  /** data sets that it is, or was, trained on; no example of theirs is shown or tested */
  data: string[];
  split?: string;
  /** examples of each data set */
  limit?: number;
  clusters: number;
  embedding: string;
  centred: boolean;
  tau: number;
  mode: 'joint' | 'independent';
  rank: number;
  lora_alpha: number;
  epochs: number;
  batch_size: number;
  learning_rate: number;
  seed: number;
}

export interface BenchUser {
  name: string;
  kind: 'seen' | 'seen-kind' | 'unseen-kind' | 'mixture';
  /** YAML descriptions; examples and tests come from all in equal parts */
  tasks: string[];
  /** examples shown; one user for each number of a list */
  k: number | number[];
  /** seeds of the draw of the examples; one user for each */
  seeds: number[];
}

/** What one option of Crayon is set to in turn, all others at their defaults. */
export interface BenchAblation {
  /** which strategies are run with each setting */
  strategies: Array<'crayon' | 'per-query'>;
  /** a kind, or `<kind>+centred` */
  embedding?: string[];
  centred?: boolean[];
  /** temperature of the gate, at training and at blending */
  tau?: number[];
  /** temperature at blending alone */
  blend_tau?: number[];
  mode?: Array<'joint' | 'independent'>;
  clusters?: number[];
  top_k?: number[];
  estimator?: Array<'histogram' | 'nnls'>;
  /** `svd:<rank>` or `linear` */
  combine?: string[];
}

export interface OneLoraSettings {
  learning_rate?: number;
  epochs?: number;
}

export interface BenchConfig {
  name: string;
  seed: number;
  model: string;
  data_dir?: string;
  /** splits of every task that shown examples and tests come from */
  shown_split: string;
  test_split: string;
  /** test examples of each user */
  test_examples: number;
  /** of these, answered one at a time as well, to measure the latency of an answer */
  latency_examples: number;
  /** sequences read at a time */
  batch_size: number;
  /** tokens of a generated answer */
  max_tokens: number;
  pool: BenchPool;
  users: BenchUser[];
  strategies: BenchStrategy[];
  random: { seeds: number };
  /** training of the one LoRA on everything, where it should differ from the pool's; likewise of the larger one */
  one_lora: OneLoraSettings;
  one_lora_total: OneLoraSettings;
  few_shot: { steps: number; batch_size: number; learning_rate: number };
  lorahub: { evaluations: number; bound: number; l1: number };
  ablation: BenchAblation | null;
  /** a larger model, scored in the same way: what the hybrid can gain */
  server: { model: string } | null;
  /** the router on running servers, and load on them; absent for none */
  live?: BenchLive;
  load?: BenchLoad;
  /** device classes of its own, for both */
  devices?: Record<string, BenchDevice>;
}

const USER_DEFAULTS = { k: 10, seeds: [0] };
const POOL_DEFAULTS = {
  clusters: 8,
  embedding: 'first-attention',
  centred: true,
  tau: 0.1,
  mode: 'joint',
  rank: 4,
  lora_alpha: 8,
  epochs: 2,
  batch_size: 32,
  learning_rate: 0.01,
  seed: 0,
};
const DEFAULTS = {
  seed: 0,
  shown_split: 'heldout',
  test_split: 'test',
  test_examples: 100,
  latency_examples: 5,
  batch_size: 32,
  max_tokens: 24,
  ablation: null,
  server: null,
};
const SECTIONS = {
  random: { seeds: 3 },
  one_lora: {},
  one_lora_total: {},
  // A step is a batch; the k examples are gone through again and again.
  few_shot: { steps: 100, batch_size: 8, learning_rate: 0.005 },
  // arXiv 2307.13269
  lorahub: { evaluations: 40, bound: 1.5, l1: 0.05 },
};

const pathText = text;
const share = value((x) => Number.isFinite(x) && (x as number) >= 0, 'a number from 0');
const name = value(
  (x) => typeof x === 'string' && /^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$/.test(x),
  'a short name of letters, digits and . _ + -',
);
const filled =
  (schema: ReturnType<typeof listOf>): ReturnType<typeof listOf> =>
  (found, where, problems) => {
    schema(found, where, problems);
    if (Array.isArray(found) && found.length === 0) problems.push(`${where} is empty, expected at least one`);
  };
const { min, max } = EXAMPLE_LIMITS;
const shownCount = value((x) => Number.isSafeInteger(x) && Number(x) >= min && Number(x) <= max, `${min} to ${max}`);

const poolSchema = object(
  {
    dir: optional(pathText),
    data: filled(listOf(pathText)),
    split: optional(text),
    limit: optional(whole(1)),
    clusters: whole(1),
    embedding: text,
    centred: flag,
    tau: positive,
    mode: oneOf('joint', 'independent'),
    rank: whole(1),
    lora_alpha: positive,
    epochs: positive,
    batch_size: whole(1),
    learning_rate: positive,
    seed: whole(0),
  },
  { strict: true },
);
const userSchema = object(
  {
    name,
    kind: oneOf('seen', 'seen-kind', 'unseen-kind', 'mixture'),
    tasks: filled(listOf(pathText)),
    k: either(shownCount, filled(listOf(shownCount))),
    seeds: filled(listOf(whole(0))),
  },
  { strict: true },
);
const ablationSchema = object(
  {
    strategies: filled(listOf(oneOf('crayon', 'per-query'))),
    embedding: optional(
      listOf(value((x) => typeof x === 'string' && /^[^+]+(\+centred)?$/.test(x), '<kind> or <kind>+centred')),
    ),
    centred: optional(listOf(flag)),
    tau: optional(listOf(positive)),
    blend_tau: optional(listOf(positive)),
    mode: optional(listOf(oneOf('joint', 'independent'))),
    clusters: optional(listOf(whole(1))),
    top_k: optional(listOf(whole(1))),
    estimator: optional(listOf(oneOf('histogram', 'nnls'))),
    combine: optional(
      listOf(value((x) => typeof x === 'string' && /^(svd:[1-9]\d*|linear)$/.test(x), 'svd:<rank> or linear')),
    ),
  },
  { strict: true },
);
const oneLoraSchema = object({ learning_rate: optional(positive), epochs: optional(positive) }, { strict: true });
const schema = object(
  {
    name,
    seed: whole(0),
    model: pathText,
    data_dir: optional(pathText),
    shown_split: text,
    test_split: text,
    test_examples: whole(2),
    latency_examples: whole(0),
    batch_size: whole(1),
    max_tokens: whole(1),
    pool: poolSchema,
    users: filled(listOf(userSchema)),
    strategies: filled(listOf(oneOf(...BENCH_STRATEGIES))),
    random: object({ seeds: whole(1) }, { strict: true }),
    one_lora: oneLoraSchema,
    one_lora_total: oneLoraSchema,
    few_shot: object({ steps: whole(1), batch_size: whole(1), learning_rate: positive }, { strict: true }),
    lorahub: object({ evaluations: whole(1), bound: positive, l1: share }, { strict: true }),
    ablation: (found, where, problems) => {
      if (found !== null) ablationSchema(found, where, problems);
    },
    server: (found, where, problems) => {
      if (found !== null) object({ model: pathText }, { strict: true })(found, where, problems);
    },
    live: LIVE_SCHEMA,
    load: LOAD_SCHEMA,
    devices: DEVICES_SCHEMA,
  },
  { strict: true },
);

/**
 * Reads and checks a configuration, with all defaults filled in.
 *
 * @throws CrayonError `yaml-invalid`, `file-not-found`, `config-invalid` naming every bad or unknown key
 */
export function loadBenchConfig(path: string): BenchConfig {
  return benchConfig(readYaml(path).value, path);
}

/** Checks a parsed YAML file. @param where names it in errors */
export function benchConfig(yaml: unknown, where: string): BenchConfig {
  if (!isJsonObject(yaml))
    throw new CrayonError('config-invalid', `${where}: expected keys and values at the top level`);
  const config = checked<BenchConfig>(withDefaults(yaml), schema, 'config-invalid', where);
  refuseContradictions(config, where);
  return config;
}

function withDefaults(yaml: JsonObject): JsonObject {
  const merged: JsonObject = { ...DEFAULTS, ...yaml };
  for (const [key, defaults] of Object.entries({ ...SECTIONS, pool: POOL_DEFAULTS })) {
    const own = yaml[key];
    // what is no object is left for the schema to name
    if (own === undefined || isJsonObject(own)) merged[key] = { ...defaults, ...(own ?? {}) };
  }
  if (isJsonObject(merged.ablation)) merged.ablation = { strategies: ['crayon'], ...merged.ablation };
  if (Array.isArray(merged.users)) {
    merged.users = merged.users.map((user) => (isJsonObject(user) ? { ...USER_DEFAULTS, ...user } : user));
  }
  if (yaml.live !== undefined) merged.live = liveDefaults(yaml.live);
  if (yaml.load !== undefined) merged.load = loadDefaults(yaml.load);
  return merged;
}

function refuseContradictions(config: BenchConfig, where: string): void {
  const problems: string[] = [];
  const repeated = (what: string, items: readonly unknown[]) => {
    const twice = items.find((item, i) => items.indexOf(item) !== i);
    if (twice !== undefined) problems.push(`${what} has ${JSON.stringify(twice)} twice`);
  };
  repeated(
    'users',
    config.users.map((user) => user.name),
  );
  repeated('strategies', config.strategies);
  for (const user of config.users) {
    repeated(`${user.name}: k`, [user.k].flat());
    repeated(`${user.name}: seeds`, user.seeds);
    if (user.kind === 'mixture' && user.tasks.length < 2) problems.push(`${user.name} is a mixture of one task`);
    if (user.kind !== 'mixture' && user.tasks.length > 1) {
      problems.push(`${user.name} has ${user.tasks.length} tasks, so its kind is mixture`);
    }
  }
  if (config.strategies.includes('server') && config.server === null) {
    problems.push('strategies has server, but there is no server: { model: ... }');
  }
  problems.push(...liveContradictions(config));
  if (config.pool.dir !== undefined) {
    const needs = (['embedding', 'centred', 'tau', 'mode', 'clusters'] as const).filter(
      (option) => (config.ablation?.[option]?.length ?? 0) > 0,
    );
    if (needs.length > 0)
      problems.push(`ablation of ${needs.join(', ')} builds pools of its own, but pool.dir is given`);
  }
  if (problems.length > 0) throw new CrayonError('config-invalid', `${where}: ${problems.join('; ')}`);
}

/**
 * A path of the configuration as it is on this machine.
 *
 * @throws CrayonError `file-not-found`
 */
export function findBenchPath(path: string): string {
  if (exists(path)) return path;
  try {
    if (!isAbsolute(path)) return shippedPath(path);
  } catch {}
  throw new CrayonError('file-not-found', `${path}: no such file or directory`, {
    hint: 'Paths in a bench configuration start at the working directory.',
  });
}
