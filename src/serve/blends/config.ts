/**
 * The configuration of `serve-pool`: YAML (configs/pool-server.yaml shows every key, configs/schema/pool-server.json is made of
 * POOL_SERVER_SCHEMA for editors) and the command line's flags over it.
 */

import { dirname } from 'node:path';
import * as z from 'zod';
import { type Partly, seconds } from '../../engine/server/options.js';
import { camelCased, checked, matching, orNull, text, variableName, whole } from '../../files/schema.js';
import { readYaml } from '../../files/yaml.js';
import { LOG_LEVELS } from '../config.js';
import { ORIGIN } from '../http/cors.js';
import { overlaid } from '../overrides.js';

const STEP = '1 divided by a whole number from 2 to 10,000, such as 0.01';

const limits = z.strictObject({
  body_bytes: whole(1024).default(131_072).describe('The largest body of a request.'),
  request_seconds: seconds.default(600).describe("From the request's arrival to the last byte of its answer."),
  queue: whole(0).default(64).describe('Blends that may wait to be made; the next gets 429 with Retry-After.'),
  workers: whole(1, 64).default(1).describe('Blends made at a time, each on a thread of its own.'),
  rank: whole(1).default(64).describe('The largest rank of a blend by svd.'),
});

export const POOL_SERVER_SCHEMA = z.strictObject({
  pool: text.describe('The pool: a directory from `crayon build-pool`, or the http(s) address of one.'),
  model: orNull(text).describe(
    "The pool's base model, a directory or a GGUF file: needed for blends in the form of GGUF. null: safetensors only.",
  ),
  files: z
    .boolean()
    .default(true)
    .describe(
      "Whether the pool's adapters are served too, for devices that blend themselves. Manifest and centroids are.",
    ),
  step: z
    .number(STEP)
    .refine((step) => step <= 0.5 && step >= 1e-4 && Math.abs(1 / step - Math.round(1 / step)) < 1e-6, STEP)
    .default(0.01)
    .describe('Coefficients are rounded to multiples of this, so that users who are near share a blend.'),
  host: text.default('127.0.0.1').describe('Any other host than a loopback address needs an API key.'),
  port: whole(0, 65_535).default(8090).describe('0 takes any free port and says which.'),
  api_key_env: variableName.describe(
    'The name of an environment variable that holds the key clients must send. Never the key itself.',
  ),
  api_key_file: orNull(text).describe('A file that holds it.'),
  allowed_hosts: z.array(text).default([]).describe('Host headers to accept on loopback beside localhost.'),
  allowed_origins: z
    .array(matching(ORIGIN, 'an origin such as http://localhost:5173, without a path'))
    .default([])
    .describe('Origins of the web pages that may use the server from a browser (CORS). None unless named.'),
  cache_dir: orNull(text).describe('Where blends are kept. null: $XDG_CACHE_HOME/crayon or ~/.cache/crayon.'),
  cache_mib: whole(1)
    .default(4096)
    .describe('The most that they may take, in MiB; the one used longest ago goes first.'),
  memory_mib: orNull(whole(1)).describe(
    'Of the blends that are made at a time together, in MiB: fewer are made where they do not fit. null: no limit.',
  ),
  limits: limits.prefault({}).describe('What clients may ask for.'),
  log: z
    .strictObject({ level: z.enum(LOG_LEVELS).default('info').describe('Of the log on stderr.') })
    .prefault({})
    .describe('What the log holds: never coefficients.'),
});

export type PoolServerConfig = ReturnType<typeof inOurUnits>;
export type PoolServerOverrides = Partly<z.input<typeof POOL_SERVER_SCHEMA>>;

const PATH_KEYS = ['pool', 'model', 'cache_dir', 'api_key_file'];

/**
 * Reads the YAML file, lays `overrides` over it and checks the whole.
 *
 * @param path null for no file
 * @throws CrayonError `yaml-invalid`, `file-not-found`, `config-invalid` naming every bad or unknown key
 */
export function loadPoolServerConfig(path: string | null, overrides: PoolServerOverrides = {}): PoolServerConfig {
  const { value, lineOf } = path === null ? { value: {}, lineOf: undefined } : readYaml(path);
  const { whole, source } = overlaid(value ?? {}, {
    ...{ where: path ?? 'command line', folder: dirname(path ?? '.'), lineOf },
    ...{ overrides, pathKeys: PATH_KEYS },
  });
  return inOurUnits(checked(POOL_SERVER_SCHEMA, whole, source));
}

function inOurUnits(yaml: z.output<typeof POOL_SERVER_SCHEMA>) {
  const { limits, cacheMib, memoryMib, ...config } = camelCased(POOL_SERVER_SCHEMA, yaml);
  const { requestSeconds, ...counts } = limits;
  return {
    ...config,
    cacheBytes: 2 ** 20 * cacheMib,
    memoryBytes: memoryMib === null ? Number.POSITIVE_INFINITY : 2 ** 20 * memoryMib,
    limits: { ...counts, requestMs: 1000 * requestSeconds },
  };
}
