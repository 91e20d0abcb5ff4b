/** Latencies as percentiles: exact ones of all values, no buckets and no sketches. */

import assert from 'node:assert/strict';
import { mean, quantile } from '../core/stats.js';
import type { LatencySummary } from './types.js';

/** Ascending copy; `Array.prototype.sort` would compare numbers as text. */
export function ascending(values: ArrayLike<number>): Float64Array {
  return Float64Array.from(values).sort();
}

/**
 * Percentile p, 0 to 100, of any values, interpolated linearly between the two nearest ranks as numpy's default does and
 * as vLLM's and llmperf's tables therefore do.
 */
export function percentile(values: ArrayLike<number>, p: number): number {
  assert.ok(values.length > 0 && p >= 0 && p <= 100, `percentile ${p} of ${values.length} values`);
  return quantile(ascending(values), p / 100);
}

/** Mean and percentiles of at least one duration in milliseconds. */
export function summariseLatency(valuesMs: ArrayLike<number>): LatencySummary {
  assert.ok(valuesMs.length > 0, 'summariseLatency: no values');
  const sorted = ascending(valuesMs);
  const at = (q: number) => quantile(sorted, q);
  return { mean: mean(sorted), p50: at(0.5), p90: at(0.9), p95: at(0.95), p99: at(0.99) };
}

/** What a distribution is drawn from, in the unit of the values. */
export interface LatencyBox {
  /** how many values it rests on; null where only summaries of them are known */
  count: number | null;
  /** the lower half, null likewise */
  lower: { p5: number; p25: number; p75: number } | null;
  p50: number;
  p95: number;
  p99: number;
}

/** The shape of a distribution of at least one value. */
export function latencyBox(values: ArrayLike<number>): LatencyBox {
  assert.ok(values.length > 0, 'latencyBox: no values');
  const sorted = ascending(values);
  const at = (p: number) => quantile(sorted, p / 100);
  const lower = { p5: at(5), p25: at(25), p75: at(75) };
  return { count: sorted.length, lower, p50: at(50), p95: at(95), p99: at(99) };
}

/** Means of the percentiles of at least one summary. */
export function meanOfSummaries(summaries: readonly LatencySummary[]): LatencyBox {
  assert.ok(summaries.length > 0, 'meanOfSummaries: no summaries');
  const over = (key: keyof LatencySummary) => mean(summaries.map((summary) => summary[key]));
  return { count: null, lower: null, p50: over('p50'), p95: over('p95'), p99: over('p99') };
}
