/** The sections `live` and `load` of a bench configuration (configs/bench/hybrid.yaml and load.yaml show them). */

import {
  either,
  listOf,
  nullable,
  object,
  oneOf,
  optional,
  positive,
  recordOf,
  type Schema,
  text,
  value,
  whole,
} from '../../files/checks.js';
import { isJsonObject } from '../../files/json.js';

/** Between edge and server; bench/live/network/networks.ts has their numbers. */
export const NETWORK_NAMES = ['loopback', 'lan', 'wifi', '4g', '3g', 'offline'] as const;
export type NetworkName = (typeof NETWORK_NAMES)[number];

/** What a device class of the configuration changes; the rest is the default's. */
export interface BenchDevice {
  threads?: 'auto' | number;
  context?: number;
  type?: 'F16' | 'F32' | 'Q8_0';
  gguf?: string;
  memory_mib?: number;
}

/** The larger LLM: an OpenAI-compatible endpoint, instead of crayon serving `server.model`. */
export interface BenchEndpoint {
  base_url: string;
  model: string;
  api_key_env: string | null;
}

/** An edge server and a server LLM that run, and answer the users' test through the router. */
export interface BenchLive {
  /** of the queries that may go to the server, 0 to 1 */
  share: number;
  /**
   * `user`: every user has thresholds of its own, found on its own examples. `pooled`: one set for all users, found on the
   * examples of all, so that users whose blend is weak may send more. A run may have both.
   */
  thresholds: Array<'user' | 'pooled'>;
  /** held-out examples of each user, neither shown nor tested, from which the thresholds are found */
  calibration_examples: number;
  /** names of users; null is all */
  users: string[] | null;
  /** fixed: each user's blend. per-query: the pool's adapters, weighed anew for each prompt. */
  gate: 'fixed' | 'per-query';
  match: 'exact' | 'start';
  form: 'chat' | 'text';
  confidence: { measure: 'mean-logprob' | 'min-probability' | 'margin' | 'negative-entropy'; tokens: number | null };
  endpoint: BenchEndpoint | null;
  /** money for a million tokens of the server */
  prices: { input_per_million: number; output_per_million: number } | null;
  conditions: { networks: NetworkName[]; devices: string[]; users: string[] | null } | null;
}

export interface BenchLoad {
  /** clients of closed loops, and requests a second of open ones */
  clients: number[];
  rates: number[];
  burstiness: number;
  /** requests of each cell, or seconds, or whichever ends first */
  requests: number | null;
  seconds: number | null;
  warmup: number;
  max_tokens: number;
  /** milliseconds */
  goodput: { ttft?: number; tpot?: number; e2e?: number };
  mode: 'prefer_on_device' | 'only_on_device' | 'prefer_in_cloud' | 'only_in_cloud' | null;
  networks: NetworkName[];
  devices: string[];
}

const LIVE_DEFAULTS = {
  share: 0.2,
  thresholds: ['user'],
  calibration_examples: 60,
  users: null,
  gate: 'fixed',
  match: 'exact',
  form: 'chat',
  confidence: { measure: 'mean-logprob', tokens: null },
  endpoint: null,
  prices: null,
  conditions: null,
};
const CONDITIONS_DEFAULTS = { networks: ['loopback'], devices: ['default'], users: null };
const LOAD_DEFAULTS = {
  clients: [1, 4],
  rates: [],
  burstiness: 1,
  requests: 100,
  seconds: null,
  warmup: 5,
  max_tokens: 24,
  goodput: {},
  mode: null,
  networks: ['loopback'],
  devices: ['default'],
};

const strict = { strict: true };
const notNegative = value((x) => Number.isFinite(x) && (x as number) >= 0, 'a number from 0');
const share = value((x) => Number.isFinite(x) && (x as number) > 0 && (x as number) < 1, 'a number between 0 and 1');
const rate = value((x) => typeof x === 'number' && x > 0, 'requests a second, above 0 (.inf for all at once)');
const filled =
  (schema: Schema): Schema =>
  (found, where, problems) => {
    listOf(schema)(found, where, problems);
    if (Array.isArray(found) && found.length === 0) problems.push(`${where} is empty, expected at least one`);
  };
const networks = filled(oneOf(...NETWORK_NAMES));
const devices = filled(text);

export const DEVICES_SCHEMA = optional(
  recordOf(
    object(
      {
        threads: optional(either(oneOf('auto'), whole(1))),
        context: optional(whole(16)),
        type: optional(oneOf('F16', 'F32', 'Q8_0')),
        gguf: optional(text),
        memory_mib: optional(positive),
      },
      strict,
    ),
  ),
);

export const LIVE_SCHEMA = optional(
  object(
    {
      share,
      thresholds: filled(oneOf('user', 'pooled')),
      calibration_examples: whole(20),
      users: nullable(filled(text)),
      gate: oneOf('fixed', 'per-query'),
      match: oneOf('exact', 'start'),
      form: oneOf('chat', 'text'),
      confidence: object(
        { measure: oneOf('mean-logprob', 'min-probability', 'margin', 'negative-entropy'), tokens: nullable(whole(1)) },
        strict,
      ),
      endpoint: nullable(object({ base_url: text, model: text, api_key_env: nullable(text) }, strict)),
      prices: nullable(object({ input_per_million: notNegative, output_per_million: notNegative }, strict)),
      conditions: nullable(object({ networks, devices, users: nullable(filled(text)) }, strict)),
    },
    strict,
  ),
);

export const LOAD_SCHEMA = optional(
  object(
    {
      clients: listOf(whole(1)),
      rates: listOf(rate),
      burstiness: positive,
      requests: nullable(whole(1)),
      seconds: nullable(positive),
      warmup: whole(0),
      max_tokens: whole(1),
      goodput: object({ ttft: optional(positive), tpot: optional(positive), e2e: optional(positive) }, strict),
      mode: nullable(oneOf('prefer_on_device', 'only_on_device', 'prefer_in_cloud', 'only_in_cloud')),
      networks,
      devices,
    },
    strict,
  ),
);

/** Fills in what is left out; what is no object is left for the schema to name. */
export function liveDefaults(found: unknown): unknown {
  if (!isJsonObject(found)) return found;
  const live = { ...LIVE_DEFAULTS, ...found } as Record<string, unknown>;
  if (isJsonObject(live.confidence)) live.confidence = { ...LIVE_DEFAULTS.confidence, ...live.confidence };
  if (isJsonObject(live.endpoint)) live.endpoint = { api_key_env: null, ...live.endpoint };
  if (isJsonObject(live.conditions)) live.conditions = { ...CONDITIONS_DEFAULTS, ...live.conditions };
  return live;
}

export function loadDefaults(found: unknown): unknown {
  return isJsonObject(found) ? { ...LOAD_DEFAULTS, ...found } : found;
}

/** Keys that are right one by one and wrong together. */
export function liveContradictions(config: {
  live?: BenchLive | undefined;
  load?: BenchLoad | undefined;
  server: unknown;
  users: ReadonlyArray<{ name: string }>;
}): string[] {
  const { live, load, server, users } = config; // absent where the run has none
  const problems: string[] = [];
  const names = users.map(({ name }) => name);
  for (const [where, wanted] of [
    ['live.users', live?.users],
    ['live.conditions.users', live?.conditions?.users],
  ] as const) {
    const unknown = (wanted ?? []).filter((name) => !names.includes(name));
    if (unknown.length > 0) problems.push(`${where} has ${unknown.join(', ')}, expected names of users`);
  }
  if ((live !== undefined || load !== undefined) && !live?.endpoint && server === null) {
    problems.push('live and load need a server LLM: server: { model: ... } or live.endpoint');
  }
  if (load !== undefined && load.requests === null && load.seconds === null) {
    problems.push('load has neither requests nor seconds');
  }
  return problems;
}
