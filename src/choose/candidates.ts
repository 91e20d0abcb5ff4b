/**
 * The ways of customising that a user's examples can choose among, in the order of preference: a tie goes to the first. A new one
 * is a row here.
 *
 * Ten examples seldom tell one from another, so the order is that of what they did for other users (docs/results.md): a mixture for
 * each prompt, then the mean of the examples' gates, the paper's blend, and what departs from it; one adapter; and last what adds
 * nothing, which is chosen where every blend is clearly worse.
 */

import type { BlendRule } from '../blend/blend-pool.js';
import { BARE_MODEL } from '../blend/choice-record.js';
import { gate } from '../core/gate.js';
import { argmax, oneHot } from '../core/vector.js';
import type { PoolManifest } from '../pool/pool.js';

interface Row {
  /** in records and tables of results */
  name: string;
  /** in words */
  title: string;
  /** Whether it is another thing than those before it, on this pool; always when absent. */
  differs?(manifest: PoolManifest): boolean;
}

/** One adapter for all prompts, made from the examples. */
export interface FixedCandidate extends Row {
  kind: 'fixed';
  rule(manifest: PoolManifest): BlendRule;
}

/** A mixture for each prompt: the pool is served, not a blend. */
export interface PerQueryCandidate extends Row {
  kind: 'per-query';
  /** alpha(x) of cos(q(x), c_n) (N) */
  gate(similarities: Float64Array, manifest: PoolManifest): Float64Array;
}

export type Candidate = FixedCandidate | PerQueryCandidate;

const fixed = (
  name: string,
  title: string,
  rule: FixedCandidate['rule'],
  differs: Row['differs'] = several,
): FixedCandidate => ({ kind: 'fixed', name, title, rule, differs });

const several = ({ N }: PoolManifest) => N > 1;
const topK = (k: number) =>
  fixed(
    `top-${k}`,
    `the ${k} most similar adapters`,
    () => ({ estimator: 'similarity', topK: k }),
    ({ N }) => N > k,
  );

/** What a blend is without a choice. */
export const DEFAULT = 'similarity';
/** Needs the losses of each adapter alone. */
export const LABELS = 'label-evidence';

export const CANDIDATES: readonly Candidate[] = [
  {
    kind: 'per-query',
    name: 'per-query',
    title: 'per query, by similarity',
    differs: several,
    gate: (similarities, { tau }) => gate(similarities, tau),
  },
  fixed('mean-gate', 'the mean of the examples’ gates', () => ({ estimator: 'mean-gate' })),
  fixed(
    DEFAULT,
    'by similarity',
    () => ({ estimator: 'similarity' }),
    () => true,
  ),
  fixed(
    LABELS,
    'by similarity and label evidence',
    () => ({ estimator: 'label-evidence' }),
    ({ standards }) => standards?.loss !== undefined,
  ),
  fixed('uniform', 'all adapters alike', () => ({ estimator: 'uniform' })),
  topK(4),
  topK(2),
  fixed('softer', 'by similarity, twice the temperature', ({ tau }) => ({ estimator: 'similarity', tau: tau * 2 })),
  fixed('sharper', 'by similarity, half the temperature', ({ tau }) => ({ estimator: 'similarity', tau: tau / 2 })),
  fixed(
    'standardised',
    'by standardised similarity',
    () => ({ estimator: 'similarity', standardise: true }),
    ({ standards }) => standards?.similarity !== undefined,
  ),
  {
    kind: 'per-query',
    name: 'per-query-nearest',
    title: 'per query, the nearest adapter',
    differs: several,
    gate: (similarities) => oneHot(argmax(similarities), similarities.length),
  },
  fixed('nearest', 'the nearest adapter', () => ({ estimator: 'nearest' })),
  fixed(
    'general',
    'the general adapter alone',
    ({ N }) => ({ estimator: 'given', coefficients: new Float64Array(N) }),
    ({ general }) => general !== undefined,
  ),
  fixed(
    BARE_MODEL,
    'the bare model',
    ({ N }) => ({ estimator: 'given', coefficients: new Float64Array(N) }),
    () => true,
  ),
];

/** What is trained on the examples: tried only where it is asked for, since each fold of the examples is a training. */
export type TrainedRule = Pick<BlendRule, 'refine' | 'loraFromBlend'>;

/** The last ones, since they are the dearest and have most to go wrong. */
export const trainedCandidates = ({ refine, loraFromBlend }: TrainedRule): FixedCandidate[] => [
  ...(refine === undefined
    ? []
    : [fixed('refine', 'by similarity, refined on the answers', () => ({ estimator: 'similarity', refine }))]),
  ...(loraFromBlend === undefined
    ? []
    : [
        fixed(
          'lora-from-blend',
          'a LoRA from the blend',
          () => ({ estimator: 'similarity', loraFromBlend }),
          () => true,
        ),
      ]),
];

/** Those that are different things on this pool. */
export function candidatesFor(manifest: PoolManifest, trained: TrainedRule = {}): Candidate[] {
  return [...CANDIDATES, ...trainedCandidates(trained)].filter(({ differs }) => differs?.(manifest) ?? true);
}
