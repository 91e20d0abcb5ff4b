/** Which adapters a request of the base name gets: the one that the server was started with, or a pool's by the prompt. */

import { rowNorms, similaritiesTo } from '../../core/gate.js';
import type { AdapterScale, Embedding, Query } from '../../engine/types.js';

/** An adapter as /lora-adapters shows it. */
export interface ListedAdapter {
  /** Its place in the list. */
  id: number;
  /** A name, never a path of this machine. */
  path: string;
  scale: number;
}

export interface AdapterSet {
  /** For one request. */
  choose(query: Query): AdapterScale[];
  /** Whether it is chosen by the query's embedding. */
  readonly isGated: boolean;
  list(): ListedAdapter[];
  /** Sets the scales of the listed adapters by id, and of all others to 0, as llama-server does. */
  setScales(scales: ReadonlyMap<number, number>): void;
}

export type NamedAdapter = Pick<AdapterScale, 'id' | 'path'> & { name: string };

/** Every request gets the same adapters: one, or none. */
export function fixedAdapters(adapters: readonly NamedAdapter[]): AdapterSet {
  return scaledAdapters(
    adapters,
    adapters.map(() => 1),
  );
}

/** The same for every request: adapters, and a scale for each. */
export function scaledAdapters(adapters: readonly NamedAdapter[], scales: readonly number[]): AdapterSet {
  return adapterSet(adapters, () => scales, false);
}

/** Without those of scale 0. @param scales of the first ones; the others, a pool's general adapter, are at 1 */
export function atScales(adapters: readonly NamedAdapter[], scales: ArrayLike<number>): AdapterScale[] {
  const all = adapters.map(({ id, path }, n) => ({ id, path, scale: scales[n] ?? 1 }));
  return all.filter(({ scale }) => scale !== 0);
}

/** Coefficients are rounded to multiples of this, so that prompts alike share the engine's batches and cache. */
export const GATE_STEP = 1 / 50;

export interface PromptGate {
  /** (N, d) row-major */
  centroids: Float32Array;
  /** alpha(x) (N) of cos(q(x), c_n) (N) */
  weigh(similarities: Float64Array): Float64Array;
}

/**
 * The per-query gate, usually alpha(x) = softmax_n(cos(q(x), c_n) / tau) (docs/method.md, Blend). The scales of /lora-adapters
 * multiply it.
 *
 * @param adapters N, and what is beyond them, a pool's general adapter, at scale 1 for every prompt
 */
export function gatedAdapters(
  adapters: readonly NamedAdapter[],
  { centroids, weigh }: PromptGate,
  embedder: Embedding,
): AdapterSet {
  let norms: Float64Array | undefined;
  const scales = (query: Query) => {
    const q = query.vector(embedder);
    const space = { data: centroids, n: centroids.length / q.length, d: q.length };
    norms ??= rowNorms(space);
    const alpha = inSteps(weigh(similaritiesTo(q, space, norms)));
    return adapters.map((_, n) => alpha[n] ?? 1);
  };
  return adapterSet(adapters, scales, true);
}

/** Coefficients (N) that are rounded so that they keep their sum of 1, or of 0: the steps go to the largest remainders. */
export function inSteps(alpha: Float64Array): number[] {
  const steps = Array.from(alpha, (a) => Math.floor(a / GATE_STEP));
  const order = steps
    .map((_, n) => n)
    .sort((i, j) => remainder(alpha[j]!, steps[j]!) - remainder(alpha[i]!, steps[i]!));
  let left = Math.round(alpha.reduce((sum, a) => sum + a, 0) / GATE_STEP) - steps.reduce((sum, s) => sum + s, 0);
  for (const n of order) if (left-- > 0) steps[n]!++;
  return steps.map((s) => Number((s * GATE_STEP).toFixed(6)));
}

const remainder = (alpha: number, steps: number) => alpha / GATE_STEP - steps;

/** The scales of /lora-adapters multiply what the set itself would give each adapter. */
function adapterSet(
  adapters: readonly NamedAdapter[],
  scalesFor: (query: Query) => readonly number[],
  isGated: boolean,
): AdapterSet {
  const factors = adapters.map(() => 1);
  return {
    isGated,
    choose: (query) => {
      return atScales(
        adapters,
        scalesFor(query).map((scale, n) => scale * factors[n]!),
      );
    },
    list: () => adapters.map(({ name }, id) => ({ id, path: name, scale: factors[id]! })),
    setScales: (wanted) => {
      for (const id of factors.keys()) factors[id] = wanted.get(id) ?? 0;
    },
  };
}
