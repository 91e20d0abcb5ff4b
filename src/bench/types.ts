/**
 * What a bench run leaves behind, and what the report reads. A run directory:
 *
 *     run.json               RunManifest, written at the start and again at the end
 *     cells/<key>.json       Cell: one user, one strategy, one seed; written when it is done
 *     answers/<key>.jsonl    AnswerRecord, one line per test example of the cell
 *     load/<key>.json        LoadCell: one load pattern against a running server
 *
 * No prompt stands in it: prompts are named by a hash.
 */

import type { RecordedSignal } from '../routing/signals/index.js';
import type { Source } from '../routing/types.js';

/** How an answer was judged; cells of different methods are never averaged together. */
export const SCORING_METHODS = ['loglikelihood', 'generation'] as const;
export type ScoringMethod = (typeof SCORING_METHODS)[number];

/** What a user's task is to the pool. */
export const USER_KINDS = ['seen', 'seen-kind', 'unseen-kind', 'mixture'] as const;
export type UserKind = (typeof USER_KINDS)[number];

export interface UserInfo {
  name: string;
  kind: UserKind;
  /** tasks that its examples come from */
  tasks: string[];
  /** examples shown */
  k: number;
}

/** With the routing signals, where they were computed. */
export interface AnswerRecord extends Partial<Record<RecordedSignal, number>> {
  /** id of the test example, and SHA-256 of its prompt */
  id: string;
  promptHash: string;
  answer: string;
  correct: 0 | 1;
  /** the answer by log-probability per character (acc_norm) was right; absent where there are no choices */
  correctNorm?: 0 | 1;
  /** of the right completion, nats a token; null where the endpoint cannot say */
  loss: number | null;
  source: Source;
  reason: string;
  latencyMs: number;
}

export interface LatencySummary {
  mean: number;
  p50: number;
  p90: number;
  p95: number;
  p99: number;
}

/** What a cell is a row of: ways of customising, one option of Crayon that is varied, the router, devices and networks. */
export const CELL_TABLES = ['strategies', 'ablation', 'hybrid', 'conditions'] as const;

export interface Cell {
  key: string;
  user: UserInfo;
  /** e.g. `base`, `uniform`, `crayon`, `per-query`, `lorahub`, `server`, `hybrid@20` */
  strategy: string;
  table: (typeof CELL_TABLES)[number];
  /** what differs from the defaults, in words of the configuration */
  options: Record<string, string | number | boolean | null>;
  seed: number;
  method: ScoringMethod;
  examples: number;
  /** mean of `correct`, its standard error; the same normalised by bytes, or null */
  accuracy: number;
  accuracyStderr: number;
  accuracyNorm: number | null;
  /** nats a token over all completions, or null */
  loss: number | null;
  /** from the examples to a ready adapter */
  customisationMs: number;
  /** what leaves the device: similarity scores, or whole prompts */
  bytesToServer: number;
  adapterBytes: number;
  /** trainable or mixed parameters on the device */
  adapterParameters: number;
  /** share of answers from the server, 0 to 1 */
  serverShare: number;
  /** money for the server's tokens per 1,000 queries, by the configured prices; null without prices */
  costPer1000: number | null;
  latencyMs: LatencySummary;
  /** blend coefficients, where there are any */
  coefficients?: number[];
}

/** A picture of a pool's clusters: the two principal components of points and centroids. */
export interface ClusterMap {
  points: Array<{ x: number; y: number; cluster: number; task: string }>;
  centroids: Array<{ x: number; y: number }>;
}

export interface LoadCell {
  key: string;
  /** e.g. `closed, 8 clients` or `open, 4 requests/s` */
  pattern: string;
  device: string;
  network: string;
  completed: number;
  failed: number;
  /** by error code */
  failures: Record<string, number>;
  seconds: number;
  requestThroughput: number;
  /** tokens a second; null where the server does not count */
  outputThroughput: number | null;
  /** requests a second within the given limits, and the limits; null where none were given */
  goodput: number | null;
  goodputLimits: Record<string, number>;
  /** milliseconds; `all`, and split by source where both answered */
  ttft: Record<string, LatencySummary>;
  tpot: Record<string, LatencySummary>;
  itl: Record<string, LatencySummary>;
  e2e: Record<string, LatencySummary>;
  serverShare: number;
  /** from `usage`; null where the server does not count */
  promptTokens: number | null;
  completionTokens: number | null;
}

export interface RunManifest {
  format: 'crayon-bench';
  version: 1;
  createdBy: string;
  /** processor, threads, memory, Node, back end */
  machine: string;
  /** of the working tree, when it is one, with `-dirty` where it is */
  commit: string | null;
  seed: number;
  started: string;
  finished: string | null;
  /** the configuration as it was used */
  config: unknown;
  base: { name: string; parameters: number; digest: string };
  server: { name: string; baseUrl: string } | null;
  pool: { N: number; r: number; embedding: string; centred: boolean; tau: number; parameters: number } | null;
  clusters: ClusterMap | null;
  /** cells that the configuration asks for, done or not */
  plannedCells: number;
}
