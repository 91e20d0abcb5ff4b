/** The end of a build, from trained adapters to the pool directory. */

import { mixtureLosses } from './adapter-losses.js';
import { describeClusters } from './cluster.js';
import type { PoolManifest } from './pool.js';
import type { Prepared } from './prepare.js';
import { type Build, type Staged, stopIfAsked } from './stages.js';
import { lossStandard, similarityStandard } from './standards.js';
import type { TrainedAdapters } from './trainers/trainer.js';
import { writePool } from './write.js';

export interface BuildResult extends Pick<Prepared, 'skipped' | 'truncated'> {
  manifest: PoolManifest;
  /** prompts of the examples nearest to each centroid, for display; they are not stored in the pool */
  nearestPrompts: string[][];
  resumed: boolean;
  /** tokens per second of the training, padding excluded; 0 when it was finished before */
  trainedTokensPerSecond: number;
}

/** Losses before and after, the standards, the pool directory; then the work directory goes. */
export async function completePool(build: Build, staged: Staged, trained: TrainedAdapters): Promise<BuildResult> {
  const { options, hooks, inputs, work, during } = build;
  const { examples } = inputs;
  const { task, space, clustering, similarities } = staged;

  // 5) losses before and after, on a sample of each cluster
  const description = await describeClusters({
    examples,
    clustering,
    similarities,
    count: options.evaluationExamples,
    seed: options.seed,
    lossOf: trained.lossOf,
    onProgress: during('evaluate'),
  });

  const standards: PoolManifest['standards'] = { similarity: similarityStandard(similarities, clustering.k) };
  if (inputs.heldOut.length > 0) {
    const adapters = { layout: task.layout, parameters: trained.parameters, loraAlpha: options.training.loraAlpha };
    const losses = await mixtureLosses(task.model(), adapters, inputs.heldOut, { onProgress: during('evaluate') });
    standards.loss = lossStandard(losses, clustering.k);
  }
  await stopIfAsked(hooks, 'evaluation');

  // 6) write
  const { k: N } = clustering;
  during('write')(0, N);
  const { clusters } = description;
  const manifest = writePool({ inputs, task, space, clustering, trained, clusters, standards });
  during('write')(N, N);
  work.remove();
  return {
    manifest,
    nearestPrompts: description.nearest.map((members) => members.map((i) => examples[i]!.prompt)),
    skipped: inputs.skipped,
    truncated: inputs.truncated,
    resumed: work.resumed,
    trainedTokensPerSecond: trained.tokensPerSecond,
  };
}
