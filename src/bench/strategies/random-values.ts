/**
 * The control of arXiv 2602.12323: the blend with Crayon's coefficients of adapters whose values are random. Every factor A and B of
 * every module has the Euclidean norm of the trained one and normal values, so what is left of Crayon is the size of its change.
 */

import { estimateBlend } from '../../blend/coefficients.js';
import { createRandom, type Random } from '../../core/random.js';
import { norm } from '../../core/vector.js';
import { adapterFactors, setAdapterFactors } from '../../model/lora-layout.js';
import { stackPool } from '../../pool/gate.js';
import { memberCoefficients, openPool } from '../../pool/pool.js';
import type { EvaluationLora } from '../../train/evaluate.js';
import { scopeSpace } from '../pool-space.js';
import { adapted, type Strategy } from './strategy.js';

export const randomValues: Strategy = {
  name: 'random-values',
  title: 'Blend of random adapters',
  looksAtExamples: true,
  poolOf: ({ pool }) => pool,
  async customise(cell, user, { base, pools }) {
    const started = performance.now();
    const pool = openPool(pools.path(cell.pool));
    const { N, embedding } = pool.manifest;
    const rows = { data: await scopeSpace(pool, base).embed(user.shown), n: user.shown.length, d: embedding.dim };
    const { coefficients } = estimateBlend(pool, 'similarity', { rows }, cell.blend);
    const stack = withRandomValues(stackPool(pool, base.source), cell.seed);
    return {
      ...adapted(base, { ...stack, gates: [memberCoefficients(pool.manifest, coefficients)] }),
      ms: performance.now() - started,
      bytesToServer: 4 * N,
      coefficients,
    };
  },
};

/** Adapters of random values, factor by factor of the same norm; a general adapter stays what it is. */
export function withRandomValues(stack: EvaluationLora, seed: number): EvaluationLora {
  const { layout, parameters } = stack;
  const drawn = Float32Array.from(parameters);
  for (let n = 0; n < layout.adapters - (layout.frozen ?? 0); n++) {
    const random = createRandom(seed, `random values/${n}`);
    for (const module of layout.modules) {
      const { a, b } = adapterFactors(layout, parameters, module, n);
      setAdapterFactors(layout, drawn, module, n, { a: ofNormOf(a, random), b: ofNormOf(b, random) });
    }
  }
  return { ...stack, parameters: drawn };
}

function ofNormOf(factor: Float32Array, random: Random): Float32Array {
  const values = Float64Array.from(factor, () => random.normal());
  const scale = norm(factor) / norm(values);
  return Float32Array.from(values, (x) => x * scale);
}
