/** Strategies that blend a pool's adapters without training: Crayon, with its options, and its controls. */

import { join } from 'node:path';
import { blendPool } from '../../blend/blend-pool.js';
import type { Estimator } from '../../blend/coefficients.js';
import { createRandom } from '../../core/random.js';
import { writeFileAtomic } from '../../files/atomic.js';
import { hiddenEmbedder } from '../../pool/gate.js';
import { openPool } from '../../pool/pool.js';
import { loadAdapterLora } from '../../train/adapter-lora.js';
import type { EvaluationLora } from '../../train/evaluate.js';
import type { PlannedCell } from '../cells.js';
import type { PlayedUser } from '../users.js';
import type { BenchContext } from './context.js';

export interface Blended {
  lora: EvaluationLora;
  ms: number;
  bytesToServer: number;
  coefficients: number[];
}

/** As a user would do it: from a file of examples to an adapter directory. */
export async function blendStrategy(cell: PlannedCell, user: PlayedUser, context: BenchContext): Promise<Blended> {
  const { base, pools, directory } = context;
  const pool = pools.path(cell.pool);
  const { N } = openPool(pool).manifest;
  const scratch = directory.scratch(cell.key);
  const examples = join(scratch, 'examples.jsonl');
  const lines = user.shown.map(({ prompt, completion }) => `${JSON.stringify({ prompt, completion })}\n`);
  writeFileAtomic(examples, lines.join(''));
  const { tau, topK, combine = 'cat', rank } = cell.blend;
  const estimator = estimatorOf(cell);
  const out = join(scratch, 'adapter');
  try {
    const { coefficients, totalMs } = await blendPool({
      pool,
      examples,
      model: base.source.dir,
      out,
      estimator,
      combine,
      dtype: 'F32',
      long: 'truncate',
      force: true,
      tau,
      topK,
      rank,
      coefficients: estimator === 'given' ? randomCoefficients(N, cell.seed) : undefined,
      openHiddenEmbedder: async (_source, kind, tokenizer) => hiddenEmbedder(base.model, kind, tokenizer),
    });
    return {
      lora: loadAdapterLora(out, base.source),
      ms: totalMs,
      // N similarities as float32 are all that a server needs to know in order to blend
      bytesToServer: estimator === 'uniform' || estimator === 'given' ? 0 : 4 * N,
      coefficients,
    };
  } finally {
    directory.clearScratch();
  }
}

function estimatorOf({ strategy, blend }: PlannedCell): Estimator {
  if (strategy === 'uniform' || strategy === 'nearest') return strategy;
  return strategy === 'random' ? 'given' : (blend.estimator ?? 'similarity');
}

/** Uniform over all mixtures of N adapters (flat Dirichlet). */
export function randomCoefficients(N: number, seed: number): number[] {
  const random = createRandom(seed, 'random blend');
  const draws = Array.from({ length: N }, () => -Math.log(1 - random.uniform()));
  const total = draws.reduce((a, b) => a + b, 0);
  return draws.map((x) => x / total);
}
