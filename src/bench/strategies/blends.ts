/** Blends of a pool's adapters, made without training: Crayon, with its options, once or for every prompt, and its controls. */

import { join } from 'node:path';
import type { Estimator } from '../../blend/coefficients.js';
import { createRandom } from '../../core/random.js';
import { openPool, type PoolManifest } from '../../pool/pool.js';
import { loadAdapterLora } from '../../train/adapter-lora.js';
import type { BenchConfig } from '../settings.js';
import type { UserWithExamples } from '../users.js';
import { adapted, type BenchContext, type Customised, type PlannedCell, plain, type Strategy } from './strategy.js';

/**
 * As a user would do it: from examples to an adapter directory.
 *
 * @param given the coefficients (N), for the estimator of that name
 */
export async function blend(
  cell: PlannedCell,
  user: Pick<UserWithExamples, 'shown'>,
  { base, pools, directory, config, signal }: BenchContext,
  estimator: Estimator,
  given?: (pool: PoolManifest) => number[],
): Promise<Customised> {
  const { blendPool } = await import('../../blend/blend-pool.js');
  const pool = pools.path(cell.pool);
  const { manifest } = openPool(pool);
  const { N } = manifest;
  const { combine = 'cat', loraFromBlend: changed, ...variant } = cell.blend;
  const loraFromBlend = changed && { ...fromBlendOptions(config, cell.seed), ...changed };
  const out = join(directory.scratch(cell.key), 'adapter');
  try {
    const { coefficients, totalMs } = await blendPool({
      pool,
      examples: user.shown,
      model: base.source.path,
      out,
      estimator,
      ...variant,
      combine,
      loraFromBlend,
      signal,
      dtype: 'F32',
      long: 'truncate',
      force: true,
      coefficients: given?.(manifest),
      forward: { model: base.model },
    });
    return {
      ...adapted(base, loadAdapterLora(out, base.source)),
      ms: totalMs,
      // N similarities as float32 are all that a server needs to know in order to blend
      bytesToServer: estimator === 'uniform' || estimator === 'given' ? 0 : 4 * N,
      coefficients,
    };
  } finally {
    directory.clearScratch();
  }
}

function fromBlendOptions({ pool, lora_from_blend: { rank = pool.rank, ...how } }: BenchConfig, seed: number) {
  const { batch_size: batchSize, learning_rate: learningRate, steps, pull } = how;
  return { rank, steps, batchSize, learningRate, pull, seed };
}

function blendBy(estimator: Estimator, rest: Omit<Strategy, 'poolOf' | 'customise'>): Strategy {
  return {
    ...rest,
    poolOf: ({ pool }) => pool,
    customise: (cell, user, context) => blend(cell, user, context, estimator),
  };
}

export const uniform = blendBy('uniform', { name: 'uniform', title: 'Uniform blend', looksAtExamples: false });

export const random: Strategy = {
  name: 'random',
  title: 'Random blend',
  looksAtExamples: false,
  draws: ({ random: { seeds } }) => seeds,
  poolOf: ({ pool }) => pool,
  customise: (cell, user, context) => blend(cell, user, context, 'given', ({ N }) => randomCoefficients(N, cell.seed)),
};

export const labelEvidence = blendBy('label-evidence', {
  name: 'label-evidence',
  title: 'Crayon, by the answers too',
  role: 'crayon',
  looksAtExamples: true,
  usesStandards: true,
});

export const nearest = blendBy('nearest', { name: 'nearest', title: 'Nearest base LoRA', looksAtExamples: true });

export const crayon = blendBy('similarity', { name: 'crayon', title: 'Crayon', role: 'crayon', looksAtExamples: true });

/** The LoRA on the k examples, but from Crayon's blend on. */
export const loraFromBlend: Strategy = {
  name: 'lora-from-blend',
  title: 'LoRA from the blend',
  looksAtExamples: true,
  poolOf: ({ pool }) => pool,
  customise: (cell, user, context) => blend({ ...cell, blend: { loraFromBlend: {} } }, user, context, 'similarity'),
};

export const meanGate = blendBy('mean-gate', {
  name: 'mean-gate',
  title: 'Crayon, mean of the gates',
  role: 'crayon',
  looksAtExamples: true,
});

/** Uniform over all mixtures of N adapters (flat Dirichlet). */
export function randomCoefficients(N: number, seed: number): number[] {
  const random = createRandom(seed, 'random blend');
  const draws = Array.from({ length: N }, () => -Math.log(1 - random.uniform()));
  const total = draws.reduce((a, b) => a + b, 0);
  return draws.map((x) => x / total);
}

export const perQuery: Strategy = {
  name: 'per-query',
  title: 'Crayon, per query',
  role: 'crayon',
  looksAtExamples: false,
  poolOf: ({ pool }) => pool,
  async customise(cell, _user, { base, pools }) {
    const { loadPoolGates } = await import('../../pool/gate.js');
    const gates = loadPoolGates(pools.path(cell.pool), base.source, base.model, base.tokenizer, cell.blend);
    return { ...plain({ ...base, loraFor: gates.loraFor }), parameters: gates.layout.size };
  },
};
