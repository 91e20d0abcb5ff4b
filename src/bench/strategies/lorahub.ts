/**
 * LoraHub's way to coefficients (Huang et al., arXiv 2307.13269): a search without gradients for the mixture of adapters
 * with the least loss on a few examples, with a penalty on large coefficients.
 *
 *     minimise  loss(w) + l1 * mean_n |w_n|,   w in [-bound, bound]^N, beginning at 0, 40 evaluations
 *
 * The penalty is the mean over the adapters, as in the authors' code (the paper writes a sum). Their loss is divided by the
 * number of examples once more; here it is the mean per completion token, the quantity of every other table.
 *
 * The authors search with nevergrad's NGOpt, a portfolio in Python. In its place stands a (1+1) evolution strategy with the
 * one-fifth rule in the form that nevergrad's OnePlusOne has (step times 2 after a success, times 0.84 after a failure),
 * begun with nevergrad's own step for a bounded array, a sixth of its width.
 */

import { createRandom, type Random } from '../../core/random.js';
import { adapterFactors, createLoraLayout, setAdapterFactors } from '../../model/lora-layout.js';
import { stackPool } from '../../pool/gate.js';
import { memberCoefficients, openPool } from '../../pool/pool.js';
import { meanLoss } from '../../train/completion-score.js';
import type { EvaluationLora } from '../../train/evaluate.js';
import type { UserWithExamples } from '../users.js';
import { adapted, type BenchContext, type Customised, type PlannedCell, type Strategy } from './strategy.js';
import { stopIfAsked, trainingForm } from './trained.js';

export interface SearchOptions {
  /** number of coefficients */
  N: number;
  evaluations: number;
  /** every coefficient stays within plus and minus this */
  bound: number;
  random: Random;
  /** called before each evaluation; may throw to stop */
  onEvaluation?: ((done: number) => void) | undefined;
}

/** Minimises a function of N coefficients by a (1+1) evolution strategy; the first evaluation is that of all zeros. */
export async function onePlusOne(
  objective: (w: readonly number[]) => Promise<number> | number,
  { N, evaluations, bound, random, onEvaluation }: SearchOptions,
) {
  let best = new Array<number>(N).fill(0);
  let least = Number.POSITIVE_INFINITY;
  let step = bound / 3; // (bound - -bound) / 6
  for (let done = 0; done < evaluations; done++) {
    onEvaluation?.(done);
    const candidate = done === 0 ? best : best.map((x) => clip(x + step * random.normal(), bound));
    const found = await objective(candidate);
    if (found <= least) {
      if (done > 0) step *= 2;
      [best, least] = [candidate, found];
    } else step *= 0.84;
    step = Math.min(step, 2 * bound);
  }
  return { best, objective: least, evaluations };
}

/** loss + l1 * mean |w| */
export function withPenalty(loss: number, w: readonly number[], l1: number): number {
  return loss + (l1 * w.reduce((sum, x) => sum + Math.abs(x), 0)) / w.length;
}

/** A value beyond a bound is put at the bound, as nevergrad's clipping does. */
function clip(x: number, bound: number): number {
  return Math.min(bound, Math.max(-bound, x));
}

type Mix = (stack: EvaluationLora, w: readonly number[]) => EvaluationLora;

const mixDeltas: Mix = (stack, w) => ({ ...stack, gates: [w] });

/** One adapter of the same rank. @param stack its scales are folded into B, as stackAdapters leaves them */
export function mixFactors({ layout, parameters, loraAlpha }: EvaluationLora, w: readonly number[]): EvaluationLora {
  const mixed = createLoraLayout(layout.modules, 1, layout.r);
  const flat = new Float32Array(mixed.size);
  mixed.modules.forEach((module, at) => {
    const a = new Float32Array(layout.r * module.in);
    const b = new Float32Array(module.out * layout.r);
    w.forEach((weight, n) => {
      const factors = adapterFactors(layout, parameters, layout.modules[at]!, n);
      for (let i = 0; i < a.length; i++) a[i]! += weight * factors.a[i]!;
      for (let i = 0; i < b.length; i++) b[i]! += weight * factors.b[i]!;
    });
    setAdapterFactors(mixed, flat, module, 0, { a, b });
  });
  return { layout: mixed, parameters: flat, loraAlpha, gates: [[1]] };
}

async function search(cell: PlannedCell, user: UserWithExamples, context: BenchContext, mix: Mix): Promise<Customised> {
  const { scoreCompletions } = await import('../../train/evaluate.js');
  const started = performance.now();
  const { config, base, pools, signal } = context;
  const { evaluations, bound, l1 } = config.lorahub;
  const examples = trainingForm(user, base);
  const pool = openPool(pools.path(cell.pool));
  const { N } = pool.manifest;
  const stack = stackPool(pool, base.source);
  const mixed = (w: readonly number[]) => mix(stack, memberCoefficients(pool.manifest, w));
  const { best } = await onePlusOne(
    async (w) => {
      const scores = await scoreCompletions(base.model, examples, { lora: mixed(w), signal });
      return withPenalty(meanLoss(scores), w, l1);
    },
    { N, evaluations, bound, random: createRandom(user.seed, 'lorahub'), onEvaluation: () => stopIfAsked(signal) },
  );
  return { ...adapted(base, mixed(best)), ms: performance.now() - started, coefficients: best };
}

/** As the authors mix, A = sum_n w_n A_n and B = sum_n w_n B_n, which has cross terms between adapters. */
export const loraHub: Strategy = {
  name: 'lorahub',
  title: 'LoraHub',
  role: 'reference',
  looksAtExamples: true,
  poolOf: ({ pool }) => pool,
  customise: (cell, user, context) => search(cell, user, context, mixFactors),
};

/** Coefficients of the deltas themselves, as Crayon's are. */
export const loraHubDelta: Strategy = {
  ...loraHub,
  name: 'lorahub-delta',
  title: 'LoraHub on exact sums',
  role: undefined,
  customise: (cell, user, context) => search(cell, user, context, mixDeltas),
};
