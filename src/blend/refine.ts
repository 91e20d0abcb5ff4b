/**
 * `--refine`: the N coefficients alone take a few gradient steps down the loss of the user's examples, from where similarity put
 * them and pulled back to it. No factor is trained.
 *
 * Mirror descent on the simplex (exponentiated gradients, Kivinen and Warmuth 1997), which keeps shares positive and makes the pull
 * a relative entropy: minimise loss(alpha) + pull * KL(alpha || start). The gradient is N differences of the loss. A step that does
 * not go down is taken back and halved.
 */

import { gate } from '../core/gate.js';

export interface RefineOptions {
  steps: number;
  /** of log alpha, for a nat per unit of a coefficient */
  rate?: number | undefined;
  /** nats of loss that a nat of distance from the start must be worth */
  pull?: number | undefined;
}

/** Measured on the embedded suite (docs/experiments.md). */
export const REFINE_DEFAULTS = { rate: 0.5, pull: 0.05 };

/** By which a coefficient is changed for a difference: large against the rounding of a float32 loss. */
const PROBE = 0.02;

/** A share that softmax has made smaller than this could not be found again within a few steps. */
const SMALLEST = 1e-3;

export interface Refined {
  coefficients: Float64Array;
  /** loss of the examples before and after, nats a token */
  before: number;
  after: number;
}

/**
 * @param start alpha (N), from 0; what is 0 stays so
 * @param lossesOf the losses of the examples through each of some mixtures
 */
export async function refineCoefficients(
  start: Float64Array,
  lossesOf: (mixtures: Float64Array[]) => Promise<Float64Array>,
  { steps, rate = REFINE_DEFAULTS.rate, pull = REFINE_DEFAULTS.pull }: RefineOptions,
): Promise<Refined> {
  const first = start.map((alpha) => (alpha > 0 ? Math.log(Math.max(alpha, SMALLEST)) : Number.NEGATIVE_INFINITY));
  const size = start.reduce((a, b) => a + b, 0);
  const shares = (logs: Float64Array) => gate(logs, 1).map((share) => share * size);
  const probesOf = (alpha: Float64Array) => [alpha, ...Array.from(alpha, (share, n) => alpha.with(n, share + PROBE))];
  const distance = (logs: Float64Array) => {
    const [p, q] = [gate(logs, 1), gate(first, 1)];
    return p.reduce((sum, share, n) => sum + (share > 0 ? share * Math.log(share / q[n]!) : 0), 0);
  };
  const measure = async (logs: Float64Array) => {
    const alpha = shares(logs);
    const losses = await lossesOf(probesOf(alpha));
    const [loss] = losses as unknown as [number];
    const gradient = alpha.map((_, n) => (losses[n + 1]! - loss) / PROBE);
    return { logs, loss, gradient, value: loss + pull * distance(logs) };
  };

  let best = await measure(first);
  const [before] = (await lossesOf([start])) as unknown as [number];
  let scale = rate;
  for (let step = 0; step < steps; step++) {
    const { logs, gradient } = best;
    const next = await measure(logs.map((log, n) => pulled(log, first[n]!, gradient[n]!, scale, pull)));
    if (next.value < best.value) best = next;
    else scale /= 2;
  }
  if (best.loss >= before) return { coefficients: start, before, after: before };
  return { coefficients: shares(best.logs), before, after: best.loss };
}

function pulled(log: number, first: number, gradient: number, rate: number, pull: number): number {
  return first === Number.NEGATIVE_INFINITY ? first : log - rate * (gradient + pull * (log - first));
}
