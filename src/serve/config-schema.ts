/**
 * What the configuration of `serve-edge` may hold: configs/edge.yaml shows every key, configs/schema/edge.json is made of this
 * for editors. Keys, defaults and descriptions stand here and nowhere else.
 */

import * as z from 'zod';
import { GPUS } from '../engine/llama/runtime.js';
import { SERVER_SECTION, seconds } from '../engine/server/options.js';
import { matching, text, variableName, whole } from '../files/schema.js';
import { GGUF_WRITE_TYPES } from '../gguf/quantise.js';
import { THRESHOLD_SHAPE } from '../routing/signals/index.js';
import { CONFIDENCE_MEASURES, MODES } from '../routing/types.js';

/** One adapter for all requests, or the pool's weighed anew for each prompt. */
export const GATES = ['fixed', 'per-query'] as const;
export const LOG_LEVELS = ['debug', 'info', 'warn', 'error', 'silent'] as const;

const weight = z.number().optional();
const orNull = <T extends z.ZodType>(schema: T) => schema.nullable().default(null);

const limits = z.strictObject({
  body_bytes: whole(1024)
    .default(2 ** 20)
    .describe('The largest body of a request.'),
  messages: whole(1).default(256).describe('The most messages in one request.'),
  max_tokens: whole(1)
    .default(1024)
    .describe('The most tokens of one answer; a request for more gets this many, and finish_reason "length".'),
  request_seconds: seconds.default(300).describe("From the request's arrival to the end of its answer."),
  queue: whole(0)
    .default(64)
    .describe(
      'Requests that may wait for the device; the next gets 429 with Retry-After, or the server where the mode allows.',
    ),
  customizations: whole(0).default(16).describe('Customisations kept at a time.'),
});

const engine = z.strictObject({
  threads: z
    .union([z.literal('auto'), whole(1)])
    .default('auto')
    .describe('auto: measured once at start.'),
  context: orNull(whole(16)).describe("Tokens of prompt and answer together. null: the model's own, at most 4096."),
  sequences: whole(1).default(4).describe('Requests generated at a time.'),
  type: z.enum(GGUF_WRITE_TYPES).default('F16').describe('How a Hugging Face directory is exported.'),
  gpu: z.literal(GPUS).default('auto').describe('What llama.cpp runs on; false is the processor alone.'),
});

const correctness = z.strictObject({
  intercept: z.number().default(0).describe('Added to the weighed values.'),
  confidence: weight.describe('Of the confidence as measured.'),
  probability: weight.describe('Of the confidence as a number from 0 to 1.'),
  scope: weight.describe('Of the scope, percentile / 100.'),
  log_scope: weight.describe('Of ln(1 + percentile) of the scope.'),
  complexity: weight.describe('Of the complexity, nats a token.'),
});

const confidence = z.strictObject({
  measure: z
    .enum(CONFIDENCE_MEASURES)
    .default('mean-logprob')
    .describe('How token probabilities become one confidence; larger is surer.'),
  tokens: whole(1)
    .nullable()
    .default(16)
    .describe("The answer's first tokens that are looked at, and held back when streaming. null: the whole answer."),
});

const routing = z.strictObject({
  mode: z.enum(MODES).default('prefer_on_device').describe('Who answers.'),
  mode_per_request: z
    .boolean()
    .default(true)
    .describe(
      'Whether a request may name another mode (header x-crayon-mode, or "crayon": {"mode": ...} in the body).',
    ),
  thresholds: z
    .strictObject(THRESHOLD_SHAPE)
    .prefault({})
    .describe('null switches a signal off. `crayon calibrate` writes these.'),
  correctness: orNull(correctness).describe(
    'What the probability of a right answer is made of: sigmoid(intercept + weight * value, summed). Weights left out are 0.',
  ),
  confidence: confidence.prefault({}).describe('How sure the device is of its own answer.'),
  load: z.boolean().default(true).describe("Send to the server when the device's queue is full."),
  min_free_mb: whole(0)
    .default(0)
    .describe('With load: also while the machine can give less memory than this, in MiB. 0: memory has no say.'),
});

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
    'A pool from `crayon build-pool`: needed for `gate: per-query` and POST /v1/customizations.',
  ),
  gate: z
    .enum(GATES)
    .default('fixed')
    .describe("fixed: the adapter above, for every request. per-query: the pool's adapters, weighed for each prompt."),
  examples: orNull(text).describe(
    'The examples that the adapter was blended from, any data set: what "in scope" is measured against.',
  ),
  cache_dir: orNull(text).describe(
    'Where exported GGUF files are kept. null: $XDG_CACHE_HOME/crayon or ~/.cache/crayon.',
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
  limits: limits.prefault({}).describe('What one client may ask for.'),
  engine: engine.prefault({}).describe('How the device runs the model.'),
  routing: routing.prefault({}).describe('Who answers which query.'),
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
