/**
 * Builds a pool: embed the training set in the base LLM's own space, cluster it, train one base LoRA per cluster, write.
 *
 * Method: Crayon (arXiv 2406.07007). Every stage's result is kept in a work directory beside the output, so a killed
 * build continues where it was and ends with the same bytes as one that ran through.
 */

import { CrayonError, isCrayonError } from '../core/errors.js';
import { gate } from '../core/gate.js';
import { eventLoopTurn } from '../core/long-work.js';
import { checkFinite, meanRows, oneHot } from '../core/vector.js';
import type { Network } from '../model/network.js';
import { openNetwork } from '../model/open-network.js';
import type { MicroBatches } from '../train/micro-batches.js';
import { mixtureLosses } from './adapter-losses.js';
import {
  candidateCounts,
  clusterPoints,
  describeClusters,
  evaluationSample,
  membersOf,
  type PoolClusters,
} from './cluster.js';
import type { InstantKind, Sequences } from './embed/kind.js';
import { hiddenLayerOf, type NamedKind, parseEmbeddingKind } from './embed/kinds.js';
import { centreRows, type EmbeddingSpace } from './embed/space.js';
import { generalSlots, generalTask, trainedLayout } from './general.js';
import { type BuildHooks, type BuildInputs, type BuildPoolOptions, type BuildStage, readInputs } from './inputs.js';
import { largestLayout, planMemory } from './plan.js';
import { densePoints, type Points, sparsePoints } from './points.js';
import type { PoolManifest } from './pool.js';
import type { Prepared } from './prepare.js';
import { lossStandard, similarityStandard } from './standards.js';
import { TRAINERS } from './trainers/index.js';
import { TRAINER_DEFAULTS } from './trainers/options.js';
import { type JobPlace, writeJob } from './trainers/torch/job.js';
import type { TrainingTask } from './trainers/trainer.js';
import { WorkDirectory, workPath } from './work-directory.js';
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
export function buildPool(options: BuildPoolOptions, hooks: BuildHooks = {}): Promise<BuildResult> {
  return withBuild(options, hooks, async (build) => {
    const { inputs, work, during } = build;
    const { examples } = inputs;
    const { task, space, clustering, similarities } = await untilTraining(build);

    // 4) train
    const trained = await trainerOf(options).train(task);

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
    const manifest = writePool({ task, space, clustering, trained, clusters, standards });
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
  });
}

/**
 * Does what comes before the training and leaves the job of an external trainer in the work directory, to be run by hand, on
 * another machine too; `buildPool` with the same options goes on with its result.
 */
export function writeTrainingJob(options: BuildPoolOptions, hooks: BuildHooks = {}): Promise<JobPlace> {
  return withBuild(options, hooks, async (build) => {
    const { task } = await untilTraining(build);
    const place = writeJob(task);
    build.work.release();
    return place;
  });
}

const trainerOf = ({ trainer }: BuildPoolOptions) => TRAINERS[(trainer ?? TRAINER_DEFAULTS).name];

/** Reads and checks everything before any work, and leaves in order what the work opens. */
async function withBuild<T>(
  options: BuildPoolOptions,
  hooks: BuildHooks,
  run: (build: Build) => Promise<T>,
): Promise<T> {
  const progress = hooks.onProgress ?? (() => {});
  const during = (stage: BuildStage) => (done: number, total: number) => progress({ stage, done, total });
  const inputs = readInputs(options, progress);
  const { model: source, examples } = inputs;
  let work: WorkDirectory | undefined;
  let opened: Network | undefined;
  const model = () => {
    opened ??= openNetwork(source);
    return opened;
  };
  try {
    const kind = parseEmbeddingKind(options.embedding, source.config.numLayers);
    candidateCounts(examples.length, options.clusters); // refuses too few
    const { needsModel } = trainerOf(options);
    const micro = needsModel ? planMemory(options, inputs, largestLayout(options, inputs)) : undefined;
    if (needsModel) model(); // what is wrong with its weights is said at once
    work = new WorkDirectory(workPath(options.out), inputs.fingerprint, options.fresh);
    return await run({
      options,
      hooks,
      inputs,
      kind,
      model,
      work,
      during,
      micro,
    });
  } catch (error) {
    // Numbers that diverged would diverge again, and another learning rate is another run.
    if (isCrayonError(error, 'loss-not-finite')) work?.remove();
    else work?.release();
    throw error;
  } finally {
    opened?.dispose();
    source.close();
  }
}

/** The stages before the training. */
async function untilTraining(build: Build) {
  const { options, hooks, inputs, model, work, micro } = build;
  const { examples } = inputs;
  // 2) embed
  const { points, space } = await embedTrainingSet(build);
  await stopIfAsked(hooks, 'embedding');

  // 3) cluster
  const clustering = cluster(build, points);
  const { k: N, centroids, assignment } = clustering;
  const similarities = points.similarities(centroids, N);
  points.dispose();
  const slots = generalSlots(options);
  const gates = examples.map((_, i) => {
    const row = similarities.subarray(i * N, (i + 1) * N);
    const alpha = options.mode === 'joint' ? gate(row, options.tau) : oneHot(assignment[i]!, N);
    return slots === 0 ? alpha : [...alpha, ...Array<number>(slots).fill(1)];
  });
  await stopIfAsked(hooks, 'clustering');

  const sample = { seed: options.seed, count: options.evaluationExamples };
  const evaluated = membersOf(assignment, N).flatMap((members, c) => evaluationSample(members, c, sample));
  const layout = trainedLayout(inputs, options, N);
  const parts = { options, hooks, inputs, work, layout, gates, evaluated, model, micro };
  const general = options.general && generalTask(parts, options.general);
  const task: TrainingTask = { ...parts, phase: 'train', general };
  return { task, space, clustering, similarities };
}

/** Between two stages, whose results are kept. */
async function stopIfAsked({ signal }: BuildHooks, stage: string): Promise<void> {
  await eventLoopTurn();
  if (!signal?.aborted) return;
  throw new CrayonError('interrupted', `stopped after the ${stage}`, { hint: 'The same command continues from here.' });
}

/** What the stages of a build share. */
interface Build {
  options: BuildPoolOptions;
  hooks: BuildHooks;
  inputs: BuildInputs;
  kind: NamedKind;
  /** the inputs' model, open for forward passes */
  model: () => Network;
  work: WorkDirectory;
  /** parts in which crayon's own trainer reads batches */
  micro: MicroBatches | undefined;
  during: (stage: BuildStage) => (done: number, total: number) => void;
}

/** Prompts that are embedded between two progress reports, where no forward pass is needed. */
const CHUNK = 256;

/** Embeds the training set, and fixes the space in which users' prompts will be placed. */
async function embedTrainingSet(build: Build): Promise<{ points: Points; space: EmbeddingSpace }> {
  const { options, inputs, during } = build;
  const { kind, name } = build.kind;
  const prompts = inputs.examples.map((example) => example.promptIds);
  const n = prompts.length;
  const isInstant = kind.needs !== 'forward pass';
  const idf = isInstant ? (kind.fit?.(prompts, inputs.model.config.vocabSize) ?? null) : null;
  if (isInstant && kind.sparse !== undefined) {
    const points = sparsePoints(kind.sparse(prompts, idf!));
    during('embed')(n, n);
    return { points, space: { kind: name, d: points.d, mean: null, idf } };
  }
  const rows = isInstant ? instantRows(build, kind, idf, prompts) : await hiddenStates(build, prompts);
  const d = rows.length / n;
  const mean = options.centred ? Float32Array.from(meanRows(rows, n, d)) : null;
  checkFinite(rows, 'the embedding of an example');
  if (mean !== null) centreRows(rows, mean);
  return { points: densePoints(rows, n, d), space: { kind: name, d, mean, idf } };
}

function instantRows(
  { inputs: { model }, during }: Build,
  kind: InstantKind,
  idf: Float32Array | null,
  prompts: Sequences,
): Float32Array {
  const embed = kind.open(model, idf);
  const n = prompts.length;
  const d = kind.size(model.config);
  const rows = new Float32Array(n * d);
  for (let at = 0; at < n; at += CHUNK) {
    rows.set(embed(prompts.slice(at, at + CHUNK)), at * d);
    during('embed')(Math.min(at + CHUNK, n), n);
  }
  return rows;
}

/** A forward pass over the whole training set takes minutes, so its result is kept for a continued run. */
async function hiddenStates(build: Build, prompts: Sequences): Promise<Float32Array> {
  const { inputs, kind, work } = build;
  const onProgress = build.during('embed');
  const saved = work.load('embeddings', { rows: 'F32' });
  if (saved !== undefined) {
    onProgress(prompts.length, prompts.length);
    return saved.rows;
  }
  const model = build.model();
  const layer = hiddenLayerOf(kind, model.config.numLayers)!;
  const { embedByForwardPass } = await import('./embed/hidden-states.js');
  const rows = await embedByForwardPass(inputs.model, prompts, { model, bosId: inputs.bosId }, { layer, onProgress });
  work.save('embeddings', { rows });
  return rows;
}

/** Cheap and deterministic for a given back end, but kept all the same: a run may be continued on another machine. */
function cluster({ options: { clusters, seed }, work, during }: Build, points: Points): PoolClusters {
  const onProgress = during('cluster');
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
