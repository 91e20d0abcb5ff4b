/**
 * Builds a pool: embed the training set in the base LLM's own space, cluster it, train one base LoRA per cluster, write.
 *
 * Method: Crayon (arXiv 2406.07007). Every stage's result is kept in a work directory beside the output, so a killed
 * build continues where it was and ends with the same bytes as one that ran through.
 */

import { CrayonError, isCrayonError } from '../core/errors.js';
import { gate } from '../core/gate.js';
import { eventLoopTurn } from '../core/long-work.js';
import { oneHot } from '../core/vector.js';
import { LlamaModel } from '../model/llama.js';
import { meanLoss, scoreCompletions } from '../train/evaluate.js';
import { poolLayout } from '../train/lora-layout.js';
import { candidateCounts, clusterPoints, describeClusters, type PoolClusters } from './cluster.js';
import { embedTrainingSet } from './embed/embed.js';
import { parseEmbeddingKind } from './embed/kinds.js';
import { type BuildHooks, type BuildPoolOptions, type BuildStage, readInputs } from './inputs.js';
import type { Points } from './points.js';
import type { PoolManifest } from './pool.js';
import type { Prepared } from './prepare.js';
import { trainAdapters } from './train.js';
import { WorkDirectory } from './work-directory.js';
import { writePool } from './write.js';

export interface BuildResult extends Pick<Prepared, 'skipped' | 'truncated'> {
  manifest: PoolManifest;
  /** prompts of the examples nearest to each centroid, for display; they are not stored in the pool */
  nearestPrompts: string[][];
  resumed: boolean;
  /** tokens per second of the training, padding excluded; 0 when it was finished before */
  trainedTokensPerSecond: number;
}

/** @throws CrayonError for every fault of the inputs, `interrupted` when the signal fires */
export async function buildPool(options: BuildPoolOptions, hooks: BuildHooks = {}): Promise<BuildResult> {
  const progress = hooks.onProgress ?? (() => {});
  const during = (stage: BuildStage) => (done: number, total: number) => progress({ stage, done, total });
  // 1) read and check everything before any work
  const inputs = readInputs(options, progress);
  const { model: source, examples } = inputs;
  let work: WorkDirectory | undefined;
  let model: LlamaModel | undefined;
  try {
    const kind = parseEmbeddingKind(options.embedding, source.config.numLayers);
    candidateCounts(examples.length, options.clusters); // refuses too few
    model = new LlamaModel(source);
    work = new WorkDirectory(`${options.out}.building`, inputs.fingerprint, options.fresh);

    // 2) embed
    const llama = model;
    const { centred } = options;
    const { points, space } = await embedTrainingSet({
      kind,
      centred,
      inputs,
      llama,
      work,
      onProgress: during('embed'),
    });

    await stopIfAsked(hooks, 'embedding');

    // 3) cluster
    const clustering = cluster(points, options, work, during('cluster'));
    const { k: N, centroids } = clustering;
    const similarities = points.similarities(centroids, N);
    points.dispose();
    const gates = examples.map((_, i) => {
      const row = similarities.subarray(i * N, (i + 1) * N);
      return options.mode === 'joint' ? gate(row, options.tau) : oneHot(clustering.assignment[i]!, N);
    });

    await stopIfAsked(hooks, 'clustering');

    // 4) train
    const layout = poolLayout(source, options, N);
    const trained = await trainAdapters({ model, layout, examples, gates, options, work, hooks });

    // 5) losses before and after, on a sample of each cluster
    const description = await describeClusters({
      examples,
      clustering,
      similarities,
      count: options.evaluationExamples,
      seed: options.seed,
      lossOf: async (members, adapted) => {
        const lora = { layout, parameters: trained.parameters, loraAlpha: options.training.loraAlpha };
        const gatesOf = members.map((i) => gates[i]!);
        const sample = members.map((i) => examples[i]!);
        return meanLoss(await scoreCompletions(llama, sample, adapted ? { lora: { ...lora, gates: gatesOf } } : {}));
      },
      onProgress: during('evaluate'),
    });

    await stopIfAsked(hooks, 'evaluation');

    // 6) write
    progress({ stage: 'write', done: 0, total: N });
    const manifest = writePool({ options, inputs, space, clustering, layout, trained, clusters: description.clusters });
    progress({ stage: 'write', done: N, total: N });
    work.remove();
    return {
      manifest,
      nearestPrompts: description.nearest.map((members) => members.map((i) => examples[i]!.prompt)),
      skipped: inputs.skipped,
      truncated: inputs.truncated,
      resumed: work.resumed,
      trainedTokensPerSecond: trained.tokensPerSecond,
    };
  } catch (error) {
    work?.release();
    // Numbers that diverged would diverge again, and another learning rate is another run.
    if (isCrayonError(error, 'loss-not-finite')) work?.remove();
    else work?.removeUnlessStarted();
    throw error;
  } finally {
    model?.dispose();
    source.close();
  }
}

/** Between two stages, whose results are kept. */
async function stopIfAsked({ signal }: BuildHooks, stage: string): Promise<void> {
  await eventLoopTurn();
  if (!signal?.aborted) return;
  throw new CrayonError('interrupted', `stopped after the ${stage}`, { hint: 'The same command continues from here.' });
}

/** Cheap and deterministic for a given back end, but kept all the same: a run may be continued on another machine. */
function cluster(
  points: Points,
  options: BuildPoolOptions,
  work: WorkDirectory,
  onProgress: (done: number, total: number) => void,
): PoolClusters {
  const { clusters, seed } = options;
  const saved = work.load('clusters', { centroids: 'F32', assignment: 'I32', silhouette: 'F64' });
  if (saved !== undefined) {
    onProgress(1, 1);
    return { ...saved, k: saved.centroids.length / points.d, silhouette: saved.silhouette[0]! };
  }
  const result = clusterPoints(points, { clusters, seed, onProgress });
  const { centroids, assignment, silhouette } = result;
  work.save('clusters', { centroids, assignment, silhouette: Float64Array.of(silhouette) });
  return result;
}
