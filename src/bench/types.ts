/**
 * What a bench run leaves behind, and what the report reads: schemas of its files, and the types that follow from them. A run
 * directory:
 *
 *     run.json               RunManifest, written at the start and again at the end
 *     cells/<key>.json       Cell: one user, one strategy, one seed; written when it is done
 *     answers/<key>.jsonl    AnswerRecord, one line per test example of the cell
 *     load/<key>.json        LoadCell: one load pattern against a running server
 *
 * No prompt stands in it: prompts are named by a hash. Keys that a later version adds are let through.
 */

import * as z from 'zod';
import { notNegative, sha256Text, text, whole } from '../files/schema.js';
import { CURVE_SCHEMA } from '../pool/training-curve.js';
import { recordedSignals } from '../routing/signals/index.js';
import { PERTURBATIONS } from './perturb.js';

const PART = 'a number from 0 to 1';
const part = z.number(PART).min(0, PART).max(1, PART);
const count = whole(0);
const DATE = 'a date and time';
const date = z.string(DATE).refine((text) => !Number.isNaN(Date.parse(text)), DATE);

/** How an answer was judged; cells of different methods are never averaged together. */
const SCORING_METHODS = ['loglikelihood', 'generation'] as const;
export type ScoringMethod = (typeof SCORING_METHODS)[number];

/** What a user's task is to the pool, in the order of the report. */
export const USER_KINDS = ['seen', 'seen-kind', 'unseen-kind', 'mixture'] as const;
export type UserKind = (typeof USER_KINDS)[number];

const USER_SCHEMA = z.object({
  name: text,
  kind: z.enum(USER_KINDS),
  /** tasks that its examples come from */
  tasks: z.array(text),
  /** examples shown */
  k: count,
});
export type UserInfo = z.infer<typeof USER_SCHEMA>;

const bit = z.union([z.literal(0), z.literal(1)], '0 or 1');

/** The prompt's gate over the clusters of the run's pool and, last, for strays (N + 1), to four digits; absent in earlier runs. */
const GATE = { clusters: z.array(z.number()).optional() };

export const ANSWER_SCHEMA = z.object({
  /** id of the test example, and SHA-256 of its prompt */
  id: text,
  promptHash: sha256Text,
  answer: z.string(),
  correct: bit,
  /** the answer by log-probability per character (acc_norm) was right; absent where there are no choices */
  correctNorm: bit.optional(),
  /** of the right completion, nats a token; null where the endpoint cannot say */
  loss: z.number().nullable(),
  source: z.enum(['on_device', 'in_cloud']),
  reason: z.string(),
  latencyMs: notNegative,
  /** the routing signals, where they were computed */
  ...recordedSignals(() => z.number().optional()),
  ...GATE,
  /** the same of the prompt as perturb.ts changes it, where the run asks for it; `correct` where the device answered it */
  perturbed: z
    .partialRecord(
      z.enum(PERTURBATIONS),
      z.object({ correct: bit.optional(), ...recordedSignals(() => z.number().optional()), ...GATE }),
    )
    .optional(),
});
export type AnswerRecord = z.infer<typeof ANSWER_SCHEMA>;

const LATENCY_SCHEMA = z.object({
  mean: notNegative,
  p50: notNegative,
  p90: notNegative,
  p95: notNegative,
  p99: notNegative,
});
export type LatencySummary = z.infer<typeof LATENCY_SCHEMA>;

/** What a cell is a row of: ways of customising, one option of Crayon that is varied, the router, devices and networks. */
const CELL_TABLES = ['strategies', 'ablation', 'hybrid', 'conditions'] as const;

export const CELL_SCHEMA = z.object({
  key: text,
  user: USER_SCHEMA,
  /** e.g. `base`, `uniform`, `crayon`, `per-query`, `lorahub`, `server`, `hybrid@20` */
  strategy: text,
  table: z.enum(CELL_TABLES),
  /** what differs from the defaults, in words of the configuration */
  options: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()]).nullable()),
  /** of the draw, of the examples or of what the strategy draws */
  seed: count,
  /** that of the run's seeds which it belongs to; absent where the configuration has no `seeds` */
  runSeed: count.optional(),
  method: z.enum(SCORING_METHODS),
  examples: whole(1),
  /** mean of `correct`, its standard error (null of one example); the same normalised by bytes, or null */
  accuracy: part,
  accuracyStderr: notNegative.nullable(),
  accuracyNorm: part.nullable(),
  /** nats a token over all completions, or null */
  loss: z.number().nullable(),
  /** examples whose prompt did not fit the context and lost its front; absent where all fit */
  cutPrompts: count.optional(),
  /** from the examples to a ready adapter */
  customisationMs: notNegative,
  /** what leaves the device: similarity scores, or whole prompts */
  bytesToServer: notNegative,
  adapterBytes: notNegative,
  /** trainable or mixed parameters on the device */
  adapterParameters: notNegative,
  /** share of answers from the server */
  serverShare: part,
  /** money for the server's tokens per 1,000 queries, by the configured prices; null without prices */
  costPer1000: notNegative.nullable(),
  latencyMs: LATENCY_SCHEMA,
  /** blend coefficients, where there are any */
  coefficients: z.array(z.number()).optional(),
  /** the candidate that a user's examples chose (docs/choose.md), where they did */
  chosen: text.optional(),
  /** of each candidate that was tried, its loss on each of the examples (k), and whether it was right */
  evidence: z.array(z.object({ candidate: text, losses: z.array(z.number()), right: z.array(bit) })).optional(),
});
export type Cell = z.infer<typeof CELL_SCHEMA>;

const place = { x: z.number(), y: z.number() };

/** A picture of a pool's clusters: the two principal components of points and centroids. */
const CLUSTER_MAP_SCHEMA = z.object({
  points: z.array(z.object({ ...place, cluster: count, task: z.string() })),
  centroids: z.array(z.object(place)),
});
export type ClusterMap = z.infer<typeof CLUSTER_MAP_SCHEMA>;

/** By source: `all`, and each where both answered. */
const bySource = z.record(z.string(), LATENCY_SCHEMA);

export const LOAD_SCHEMA = z.object({
  key: text,
  /** e.g. `closed, 8 clients` or `open, 4 requests/s` */
  pattern: z.string(),
  device: z.string(),
  network: z.string(),
  completed: count,
  failed: count,
  /** by error code */
  failures: z.record(z.string(), count),
  seconds: notNegative,
  requestThroughput: notNegative,
  /** tokens a second; null where the server does not count */
  outputThroughput: notNegative.nullable(),
  /** requests a second within the given limits, and the limits; null where none were given */
  goodput: notNegative.nullable(),
  goodputLimits: z.record(z.string(), z.number()),
  /** milliseconds */
  ttft: bySource,
  tpot: bySource,
  itl: bySource,
  e2e: bySource,
  serverShare: part,
  /** from `usage`; null where the server does not count */
  promptTokens: notNegative.nullable(),
  completionTokens: notNegative.nullable(),
});
export type LoadCell = z.infer<typeof LOAD_SCHEMA>;

/** The learning rate that one LoRA on everything was given, of those that were tried, by its loss on held-out examples. */
const RATE_CHOICE = z.object({
  strategy: text,
  /** of the run */
  seed: count,
  /** held out */
  examples: whole(1),
  tried: z.array(z.object({ learningRate: z.number(), loss: z.number() })),
  learningRate: z.number(),
});
export type RateChoice = z.infer<typeof RATE_CHOICE>;

export const MANIFEST_SCHEMA = z.object({
  format: z.literal('crayon-bench'),
  version: z.literal(1),
  createdBy: z.string(),
  /** processor, threads, memory, Node, back end */
  machine: z.string(),
  /** of the working tree, when it is one, with `-dirty` where it is */
  commit: z.string().nullable(),
  seed: count,
  started: date,
  finished: date.nullable(),
  /** the configuration as it was used */
  config: z.unknown(),
  base: z.object({ name: z.string(), parameters: notNegative, digest: z.string() }),
  server: z.object({ name: z.string(), baseUrl: z.string() }).nullable(),
  pool: z
    .object({
      N: whole(1),
      r: whole(1),
      embedding: z.string(),
      centred: z.boolean(),
      tau: z.number(),
      parameters: notNegative,
    })
    .nullable(),
  clusters: CLUSTER_MAP_SCHEMA.nullable(),
  /** losses of training of every pool of every seed; absent in runs of earlier versions */
  curves: z.array(z.object({ seed: count, pool: z.string(), points: CURVE_SCHEMA })).optional(),
  /** absent where the configuration has the rates */
  rates: z.array(RATE_CHOICE).optional(),
  /** cells that the configuration asks for, done or not */
  plannedCells: count,
});
export type RunManifest = z.infer<typeof MANIFEST_SCHEMA>;
