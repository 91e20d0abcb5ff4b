/** When requests arrive: the gaps between them, as vLLM's `benchmark_serving --request-rate --burstiness` draws them. */

import assert from 'node:assert/strict';
import type { Random } from '../../core/random.js';

/**
 * Seconds to the next request: gamma distributed with shape `burstiness` and mean 1 / rate. A burstiness of 1 is a Poisson
 * process; below 1 requests come in bursts, above 1 more evenly. An infinite rate sends all at once.
 *
 * @param rate requests a second
 */
export function nextGap(random: Random, rate: number, burstiness: number): number {
  assert.ok(rate > 0 && burstiness > 0, `nextGap: rate ${rate}, burstiness ${burstiness}`);
  if (rate === Number.POSITIVE_INFINITY) return 0;
  return gamma(random, burstiness) / (rate * burstiness);
}

/** Gamma with this shape and scale 1: Marsaglia and Tsang (2000); shape 1 is the exponential distribution, drawn directly. */
function gamma(random: Random, shape: number): number {
  if (shape === 1) return -Math.log(1 - random.uniform());
  // Below 1: a draw of shape + 1, shrunk (section 6 of the paper).
  if (shape < 1) return gamma(random, shape + 1) * (1 - random.uniform()) ** (1 / shape);
  const d = shape - 1 / 3;
  const c = 1 / Math.sqrt(9 * d);
  for (;;) {
    const x = random.normal();
    const v = (1 + c * x) ** 3;
    if (v <= 0) continue;
    if (Math.log(1 - random.uniform()) < 0.5 * x * x + d - d * v + d * Math.log(v)) return d * v;
  }
}
