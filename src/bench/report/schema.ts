/** What the files of a run directory must look like to be reported. Keys that are not known here are let through. */

import {
  either,
  finite,
  flag,
  listOf,
  nullable,
  object,
  oneOf,
  optional,
  recordOf,
  type Schema,
  sha256Text,
  text,
  value,
  whole,
} from '../../files/checks.js';
import { recordedSignals } from '../../routing/signals/index.js';

const fromZero = value((x) => Number.isFinite(x) && (x as number) >= 0, 'a number from 0');
const share = value((x) => Number.isFinite(x) && (x as number) >= 0 && (x as number) <= 1, 'a number from 0 to 1');
const anyText = value((x) => typeof x === 'string', 'text');
const date = value((x) => typeof x === 'string' && !Number.isNaN(Date.parse(x)), 'a date and time');
const anything: Schema = () => {};

export const LATENCY_SCHEMA = object({
  mean: fromZero,
  p50: fromZero,
  p90: fromZero,
  p95: fromZero,
  p99: fromZero,
});

export const ANSWER_SCHEMA = object({
  id: text,
  promptHash: sha256Text,
  answer: anyText,
  correct: oneOf(0, 1),
  correctNorm: optional(oneOf(0, 1)),
  loss: nullable(finite),
  source: oneOf('on_device', 'in_cloud'),
  reason: anyText,
  latencyMs: fromZero,
  ...recordedSignals(() => optional(finite)),
});

const USER_SCHEMA = object({
  name: text,
  kind: oneOf('seen', 'seen-kind', 'unseen-kind', 'mixture'),
  tasks: listOf(text),
  k: whole(0),
});

export const CELL_SCHEMA = object({
  key: text,
  user: USER_SCHEMA,
  strategy: text,
  table: oneOf('strategies', 'ablation', 'hybrid', 'conditions'),
  options: recordOf(nullable(either(anyText, finite, flag))),
  seed: whole(0),
  method: oneOf('loglikelihood', 'generation'),
  examples: whole(1),
  accuracy: share,
  accuracyStderr: nullable(fromZero),
  accuracyNorm: nullable(share),
  loss: nullable(finite),
  customisationMs: fromZero,
  bytesToServer: fromZero,
  adapterBytes: fromZero,
  adapterParameters: fromZero,
  serverShare: share,
  costPer1000: nullable(fromZero),
  latencyMs: LATENCY_SCHEMA,
  coefficients: optional(listOf(finite)),
});

const point = { x: finite, y: finite };

export const MANIFEST_SCHEMA = object({
  format: oneOf('crayon-bench'),
  version: oneOf(1),
  createdBy: anyText,
  machine: anyText,
  commit: nullable(anyText),
  seed: whole(0),
  started: date,
  finished: nullable(date),
  config: anything,
  base: object({ name: anyText, parameters: fromZero, digest: anyText }),
  server: nullable(object({ name: anyText, baseUrl: anyText })),
  pool: nullable(
    object({ N: whole(1), r: whole(1), embedding: anyText, centred: flag, tau: finite, parameters: fromZero }),
  ),
  clusters: nullable(
    object({
      points: listOf(object({ ...point, cluster: whole(0), task: anyText })),
      centroids: listOf(object(point)),
    }),
  ),
  plannedCells: whole(0),
});

const bySource = recordOf(LATENCY_SCHEMA);

export const LOAD_SCHEMA = object({
  key: text,
  pattern: anyText,
  device: anyText,
  network: anyText,
  completed: whole(0),
  failed: whole(0),
  failures: recordOf(whole(0)),
  seconds: fromZero,
  requestThroughput: fromZero,
  outputThroughput: nullable(fromZero),
  goodput: nullable(fromZero),
  goodputLimits: recordOf(finite),
  ttft: bySource,
  tpot: bySource,
  itl: bySource,
  e2e: bySource,
  serverShare: share,
  promptTokens: nullable(fromZero),
  completionTokens: nullable(fromZero),
});
