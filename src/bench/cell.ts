/** A cell of the results, made of its answers. */

import { mean, standardError } from '../core/stats.js';
import type { Example } from '../data/dataset.js';
import { summariseLatency } from './latency.js';
import type { AnswerRecord, Cell } from './types.js';

/** What answers alone do not say: whose they are, and what they cost. */
export interface CellParts
  extends Pick<
      Cell,
      'key' | 'user' | 'strategy' | 'table' | 'options' | 'seed' | 'method' | 'loss' | 'customisationMs'
    >,
    Pick<Cell, 'adapterBytes' | 'adapterParameters' | 'costPer1000' | 'coefficients'> {
  /** for the customisation; prompts that leave the device come on top */
  bytesToServer: number;
  test: readonly Example[];
  records: readonly AnswerRecord[];
  /** milliseconds of answers; the records' own where there are none */
  timed?: readonly number[];
}

export function cellOf(parts: CellParts): Cell {
  const { test, records, timed = [], coefficients } = parts;
  const hits = records.map((record) => record.correct);
  const norm = records.flatMap(({ correctNorm }) => (correctNorm === undefined ? [] : [correctNorm]));
  const isSent = records.map(({ source }) => source === 'in_cloud');
  return {
    key: parts.key,
    user: parts.user,
    strategy: parts.strategy,
    table: parts.table,
    options: parts.options,
    seed: parts.seed,
    method: parts.method,
    examples: records.length,
    accuracy: mean(hits),
    accuracyStderr: hits.length > 1 ? standardError(hits) : 0,
    accuracyNorm: norm.length === records.length ? mean(norm) : null,
    loss: parts.loss,
    customisationMs: parts.customisationMs,
    bytesToServer: test.reduce(
      (sum, { prompt }, i) => sum + (isSent[i] ? Buffer.byteLength(prompt) : 0),
      parts.bytesToServer,
    ),
    adapterBytes: parts.adapterBytes,
    adapterParameters: parts.adapterParameters,
    serverShare: mean(isSent.map(Number)),
    costPer1000: parts.costPer1000,
    latencyMs: summariseLatency(timed.length > 0 ? timed : records.map((record) => record.latencyMs)),
    ...(coefficients && { coefficients }),
  };
}
