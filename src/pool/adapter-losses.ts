/** What a pool's adapters lose on examples with their answers: each by itself, or in mixtures. */

import { oneHot } from '../core/vector.js';
import type { BaseModel } from '../hf/base-model.js';
import type { Gates, Network, StackedAdapters } from '../model/network.js';
import type { TrainingExample } from '../train/batches.js';
import { lossesOfEach } from '../train/completion-score.js';
import { forwardScorer } from '../train/evaluate.js';
import { throughNetwork } from './embed/hidden-states.js';
import type { ForwardPass } from './embed/kind.js';
import { stackPool } from './gate.js';
import type { Pool } from './pool.js';

/**
 * The loss of every example through every mixture of the adapters: one forward pass of all adapters, each sequence with its gate.
 * A pool's general adapter, the frozen one of a layout, is in all of them.
 *
 * @param examples n, with the token that ends the answer, as they are trained
 * @param mixtures M of N coefficients; each adapter by itself when absent
 * @returns (n, M) nats per completion token, row-major
 */
export async function mixtureLosses(
  model: Network,
  adapters: StackedAdapters,
  examples: readonly TrainingExample[],
  options: MixtureOptions = {},
): Promise<Float64Array> {
  const { layout } = adapters;
  const { frozen = 0 } = layout;
  const { mixtures: given = eachAlone(layout.adapters - frozen), onProgress, signal } = options;
  const mixtures = given.map((alpha) => [...Array.from(alpha), ...Array<number>(frozen).fill(1)]);
  const score = forwardScorer(model, { lora: { ...adapters, gates: mixtures }, onProgress, signal });
  return lossesOfEach(score, examples, mixtures.length);
}

export interface MixtureOptions {
  mixtures?: Gates | undefined;
  onProgress?: ((done: number, total: number) => void) | undefined;
  signal?: AbortSignal | undefined;
}

/** Each of N adapters by itself. */
const eachAlone = (N: number): Gates => Array.from({ length: N }, (_, n) => oneHot(n, N));

/**
 * Uses the losses of a pool's adapters, by the model that is given or one that is opened for it.
 *
 * @throws CrayonError see `stackPool`
 */
export function withPoolLosses<T>(
  pool: Pool,
  source: BaseModel,
  forward: ForwardPass,
  use: (
    lossesOf: (examples: readonly TrainingExample[], options?: MixtureOptions) => Promise<Float64Array>,
  ) => Promise<T>,
): Promise<T> {
  const adapters = stackPool(pool, source);
  return throughNetwork(source, forward, (model) =>
    use((examples, options) => mixtureLosses(model, adapters, examples, options)),
  );
}
