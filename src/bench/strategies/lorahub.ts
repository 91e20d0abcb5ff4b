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

import type { Random } from '../../core/random.js';

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

export interface SearchResult {
  best: number[];
  objective: number;
  evaluations: number;
}

/** Minimises a function of N coefficients by a (1+1) evolution strategy; the first evaluation is that of all zeros. */
export async function onePlusOne(
  objective: (w: readonly number[]) => Promise<number> | number,
  { N, evaluations, bound, random, onEvaluation }: SearchOptions,
): Promise<SearchResult> {
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
