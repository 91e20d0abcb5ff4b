/**
 * What is trained on a user's examples, measured on those that it was not trained on. Leaving out one at a time would be a training
 * for each example; folds of them are left out together, so that a candidate is five trainings at most.
 */

import type { BlendRule } from '../blend/blend-pool.js';
import { coefficientsWithout } from '../blend/coefficients.js';
import { startFromBlend, trainForEvidence } from '../blend/from-blend.js';
import { type FromBlendOptions, fromBlendSettings } from '../blend/from-blend-options.js';
import { refineCoefficients } from '../blend/refine.js';
import { meanRows } from '../core/vector.js';
import type { BaseModel } from '../hf/base-model.js';
import type { Network, StackedAdapters } from '../model/network.js';
import { mixtureLosses } from '../pool/adapter-losses.js';
import { openPoolFactors } from '../pool/factors.js';
import { memberCoefficients, type Pool } from '../pool/pool.js';
import type { WorkDirectory } from '../pool/work-directory.js';
import type { TrainingExample } from '../train/batches.js';
import type { Fold } from './evidence.js';

/** The most trainings that the evidence on one candidate is. */
const MOST_FOLDS = 5;

/** Which of the examples are left out together: each in one fold, neighbours in different ones. */
export function foldsOf(examples: number): number[][] {
  const folds = Math.min(MOST_FOLDS, examples);
  return Array.from({ length: folds }, (_, f) =>
    Array.from({ length: Math.ceil((examples - f) / folds) }, (_, at) => f + at * folds),
  );
}

export interface FoldTask extends Fold {
  pool: Pool;
  source: BaseModel;
  model: Network;
  /** the examples as they are trained */
  prepared: readonly TrainingExample[];
  /** keeps what trainings have reached; they begin anew when absent */
  work?: WorkDirectory | undefined;
}

const others = ({ prepared, left }: FoldTask) => prepared.filter((_, i) => !left.includes(i));

/** alpha (N), refined on the others from what they give. @throws CrayonError `interrupted` */
export async function refinedWithout(
  task: FoldTask,
  stack: StackedAdapters,
  { estimator, refine: steps = 1, ...choice }: BlendRule,
): Promise<Float64Array> {
  const { pool, model, seen, left, signal } = task;
  const shown = others(task);
  const meanLosses = async (mixtures: Float64Array[]) =>
    meanRows(await mixtureLosses(model, stack, shown, { mixtures, signal }), shown.length, mixtures.length);
  const start = coefficientsWithout(pool, estimator, seen, left, choice);
  return (await refineCoefficients(start, meanLosses, { steps })).coefficients;
}

/** The LoRA from the blend of the others, trained on them. @throws CrayonError `interrupted`, `memory-too-small` */
export async function loraWithout(
  task: FoldTask,
  { estimator, ...choice }: BlendRule,
  options: FromBlendOptions,
): Promise<StackedAdapters> {
  const { pool, source: base, model, seen, left, signal, work } = task;
  const alpha = coefficientsWithout(pool, estimator, seen, left, choice);
  const how = fromBlendSettings(options, pool.manifest);
  const adapters = pool.openMembers();
  const factors = openPoolFactors(pool);
  try {
    const coefficients = memberCoefficients(pool.manifest, alpha);
    const kept = work && { work, stage: `fold-${left[0]}` };
    const { lora } = startFromBlend({ adapters, coefficients, factors }, base, how);
    return await trainForEvidence({ model, base }, lora, others(task), how, { signal, kept });
  } finally {
    for (const adapter of adapters) adapter.close();
    factors?.close();
  }
}
