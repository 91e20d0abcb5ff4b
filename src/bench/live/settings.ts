/**
 * The sections `live`, `load` and `devices` of a bench configuration (configs/bench/hybrid.yaml and load.yaml show them): a
 * server on a device and a server LLM that run, devices and networks, load. What each key means stands with it.
 */

import * as z from 'zod';
import { MATCHES } from '../../data/judge.js';
import { PROMPT_KINDS } from '../../engine/types.js';
import { filled, notNegative, oneOrMore, positive, text, whole } from '../../files/schema.js';
import { GGUF_FILE_TYPE_NAMES } from '../../gguf/file-types.js';
import { CONFIDENCE_MEASURES } from '../../routing/signals/signal.js';
import { MODES } from '../../routing/types.js';
import { NETWORK_NAMES } from './network/networks.js';

/** Not checked against the device classes: those of the configuration are among them. */
const devices = filled(text)
  .default(['default'])
  .describe('device classes: default, laptop, phone, board, or your own');
const networks = filled(z.enum(NETWORK_NAMES))
  .default(['loopback'])
  .describe('between device and server; loopback is none');
const users = filled(text).nullable().default(null).describe('names of users; null is all');

/** What a device class of the configuration changes; the rest is the default's. */
const DEVICE = z.strictObject({
  threads: z
    .union([z.literal('auto', 'auto'), whole(1)])
    .optional()
    .describe('auto is measured at start'),
  context: whole(16).optional().describe('tokens of prompt and answer together'),
  type: z.enum(GGUF_FILE_TYPE_NAMES).optional().describe('how the base is exported'),
  gguf: text.optional().describe('a GGUF of the same base, in any quantisation, in place of the base itself'),
  memory_mib: positive.optional().describe('of the whole server process; more ends the condition'),
});
export type BenchDevice = z.output<typeof DEVICE>;

export const DEVICES_SCHEMA = z.record(text, DEVICE);

export const CONDITIONS_SCHEMA = z.strictObject({ networks, devices, users });

export const LIVE_SCHEMA = z.strictObject({
  share: z
    .number()
    .gt(0, 'a number between 0 and 1')
    .lt(1, 'a number between 0 and 1')
    .default(0.2)
    .describe('of the queries that may go to the server, 0 to 1'),
  thresholds: filled(z.enum(['user', 'pooled']))
    .default(['user'])
    .describe(
      "user: every user has thresholds of its own, found on its own examples; pooled: one set, found on all users' " +
        'examples, so that users whose blend is weak may send more. A run may have both.',
    ),
  calibration_examples: whole(20)
    .default(60)
    .describe('held-out examples of each user, neither shown nor tested, from which the thresholds are found'),
  users,
  gate: z
    .enum(['fixed', 'per-query'])
    .default('fixed')
    .describe("fixed: each user's blend; per-query: the pool's adapters, weighed anew for each prompt"),
  match: z.enum(MATCHES).default('exact').describe('when an answer is right: it equals, or starts with, the right one'),
  form: z.enum(PROMPT_KINDS).default('chat').describe("chat: the prompt is one user's message; text: /v1/completions"),
  confidence: z
    .strictObject({
      measure: z
        .enum(CONFIDENCE_MEASURES)
        .default('mean-logprob')
        .describe('how token probabilities become one number'),
      tokens: whole(1).nullable().default(null).describe('of the answer; null is all'),
    })
    .prefault({})
    .describe('of an answer'),
  endpoint: z
    .strictObject({
      base_url: text.describe('up to /v1'),
      model: text.describe('as the endpoint calls it'),
      api_key_env: text.nullable().default(null).describe('name of the environment variable that holds the key'),
    })
    .nullable()
    .default(null)
    .describe('any OpenAI-compatible endpoint, instead of crayon serving server.model'),
  prices: z
    .strictObject({
      input_per_million: notNegative.describe('prompt tokens'),
      output_per_million: notNegative.describe('answer tokens'),
    })
    .nullable()
    .default(null)
    .describe('money for a million tokens of the server'),
  conditions: CONDITIONS_SCHEMA.nullable()
    .default(null)
    .describe('neither, blending alone, hybrid alone, both: on each device, and over each network'),
});
export type BenchLive = z.output<typeof LIVE_SCHEMA>;

const RATE = 'requests a second, above 0 (.inf for all at once)';
export const LOAD_SCHEMA = z.strictObject({
  clients: z.array(whole(1)).default([1, 4]).describe('closed loop: numbers of clients'),
  rates: z
    .array(z.union([z.number(RATE).gt(0, RATE), z.literal(Number.POSITIVE_INFINITY, RATE)]))
    .default([])
    .describe(`open loop: ${RATE}`),
  burstiness: positive.default(1).describe('of arrivals: 1 is Poisson, below 1 comes in bursts'),
  requests: whole(1).nullable().default(100).describe('of each pattern; null is no limit'),
  seconds: positive.nullable().default(null).describe('likewise; whichever ends first'),
  warmup: whole(0).default(5).describe('requests before, not counted'),
  max_tokens: oneOrMore(whole(1)).default(24).describe('of an answer; of several, one is drawn for each request'),
  goodput: z
    .strictObject({
      ttft: positive.optional().describe('to the first text'),
      tpot: positive.optional().describe('for each token after it'),
      e2e: positive.optional().describe('to the end of the answer'),
    })
    .default({})
    .describe('limits in milliseconds: requests within all of them are counted'),
  mode: z.enum(MODES).nullable().default(null).describe("crayon's routing mode; null leaves it to the server"),
  networks,
  devices,
});
export type BenchLoad = z.output<typeof LOAD_SCHEMA>;

/** Nothing would end such load. */
export const isEndless = ({ requests, seconds }: BenchLoad) => requests === null && seconds === null;
export const ENDLESS = 'load has neither requests nor seconds';
