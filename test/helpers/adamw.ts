/** AdamW by a float64 loop, and what it is run on. */

import { createRandom } from '../../src/core/random.js';
import type { AdamWOptions } from '../../src/model/adamw-settings.js';

const SIZE = 50;
export const STEPS = 8;
const random = createRandom(1, 'adamw');
export const START = Float32Array.from({ length: SIZE }, () => random.normal());
/** Of very different lengths, so that some are clipped and some are not. */
export const GRADIENTS = Array.from({ length: STEPS }, (_, t) =>
  Float32Array.from({ length: SIZE }, () => random.normal() * 10 ** ((t % 4) - 2)),
);
/** Where a pull goes to. */
export const ANCHOR = Float32Array.from({ length: SIZE }, () => random.normal());
export const rateOf = (t: number) => 1e-2 / (t + 1);

/** Options beside the defaults. */
export const ADAMW_CASES: Array<[string, Partial<AdamWOptions>]> = [
  ['the defaults', {}],
  ["torch's betas", { beta1: 0.9, beta2: 0.999 }],
  ['weight decay', { weightDecay: 0.1 }],
  ['no clipping', { clipNorm: Number.POSITIVE_INFINITY }],
  ['hard clipping and a large epsilon', { clipNorm: 0.01, epsilon: 1e-3 }],
];

/**
 * The update as torch documents it, in float64: torch.nn.utils.clip_grad_norm_, then torch.optim.AdamW
 * (https://docs.pytorch.org/docs/stable/generated/torch.optim.AdamW.html).
 */
export function adamwByHand(
  { beta1, beta2, epsilon, weightDecay, clipNorm }: AdamWOptions,
  anchor: ArrayLike<number> = new Float32Array(SIZE),
): { p: number[]; norms: number[] } {
  const p = Array.from(START);
  const m = new Array<number>(SIZE).fill(0);
  const v = new Array<number>(SIZE).fill(0);
  const norms = GRADIENTS.map((gradient, t) => {
    const norm = Math.hypot(...gradient);
    const clip = Math.min(1, clipNorm / (norm + 1e-6));
    for (let i = 0; i < SIZE; i++) {
      const g = gradient[i]! * clip;
      p[i]! -= rateOf(t) * weightDecay * (p[i]! - anchor[i]!);
      m[i] = beta1 * m[i]! + (1 - beta1) * g;
      v[i] = beta2 * v[i]! + (1 - beta2) * g * g;
      const mHat = m[i]! / (1 - beta1 ** (t + 1));
      const vHat = v[i]! / (1 - beta2 ** (t + 1));
      p[i]! -= (rateOf(t) * mHat) / (Math.sqrt(vHat) + epsilon);
    }
    return norm;
  });
  return { p, norms };
}
