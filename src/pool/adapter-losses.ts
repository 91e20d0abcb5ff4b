/** The loss of each adapter of a pool by itself, on examples with their answers: one forward pass of all adapters, one-hot gates. */

import { oneHot } from '../core/vector.js';
import type { BaseModel } from '../hf/base-model.js';
import type { Network, StackedAdapters } from '../model/network.js';
import type { TrainingExample } from '../train/batches.js';
import { meanLoss } from '../train/completion-score.js';
import { scoreCompletions } from '../train/evaluate.js';
import { throughNetwork } from './embed/hidden-states.js';
import type { ForwardPass } from './embed/kind.js';
import { stackPool } from './gate.js';
import type { Pool } from './pool.js';

type OnProgress = (done: number, total: number) => void;

/**
 * @param examples with the token that ends the answer, as they are trained
 * @returns (n, N) nats per completion token, row-major
 */
export async function lossesAlone(
  model: Network,
  adapters: StackedAdapters,
  examples: readonly TrainingExample[],
  onProgress?: OnProgress,
): Promise<Float64Array> {
  const N = adapters.layout.adapters;
  const each = Array.from({ length: N }, (_, n) => oneHot(n, N));
  const sequences = examples.flatMap((example) => each.map(() => example));
  const lora = { ...adapters, gates: examples.flatMap(() => each) };
  const scores = await scoreCompletions(model, sequences, { lora, onProgress });
  return Float64Array.from(scores, (score) => meanLoss([score]));
}

/**
 * The same of a pool's adapters, by the model that is given or one that is opened for it.
 *
 * @throws CrayonError see `stackPool`
 */
export function poolLosses(
  pool: Pool,
  source: BaseModel,
  examples: readonly TrainingExample[],
  forward: ForwardPass = {},
  onProgress?: OnProgress,
): Promise<Float64Array> {
  const adapters = stackPool(pool, source);
  return throughNetwork(source, forward, (model) => lossesAlone(model, adapters, examples, onProgress));
}
