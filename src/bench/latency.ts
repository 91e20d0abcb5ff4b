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
  const [p50, p90, p95, p99] = [0.5, 0.9, 0.95, 0.99].map((q) => quantile(sorted, q)) as [
    number,
    number,
    number,
    number,
  ];
  return { mean: mean(sorted), p50, p90, p95, p99 };
}

/** What a box of a plot is drawn from, in the unit of the values. */
export interface LatencyBox {
  count: number;
  p5: number;
  p25: number;
  p50: number;
  p75: number;
  p95: number;
  p99: number;
  max: number;
}

/** The shape of a distribution of at least one value. */
export function latencyBox(values: ArrayLike<number>): LatencyBox {
  assert.ok(values.length > 0, 'latencyBox: no values');
  const sorted = ascending(values);
  const at = (p: number) => quantile(sorted, p / 100);
  return {
    count: sorted.length,
    p5: at(5),
    p25: at(25),
    p50: at(50),
    p75: at(75),
    p95: at(95),
    p99: at(99),
    max: sorted.at(-1)!,
  };
}
