/**
 * The stages of a build that come before its training, each kept in the work directory: examples, embedding, clusters, and what is to be
 * trained. Whoever builds, in one go or in three verbs (units/), goes through them.
 */

import { CrayonError, isCrayonError } from '../core/errors.js';
import { gate } from '../core/gate.js';
import { eventLoopTurn } from '../core/long-work.js';
import { checkFinite, meanRows, oneHot } from '../core/vector.js';
import type { Network } from '../model/network.js';
import { openNetwork } from '../model/open-network.js';
import type { MicroBatches } from '../train/micro-batches.js';
import { candidateCounts, clusterPoints, evaluationSample, membersOf, type PoolClusters } from './cluster.js';
import type { InstantKind, Sequences } from './embed/kind.js';
import { hiddenLayerOf, type NamedKind, parseEmbeddingKind } from './embed/kinds.js';
import { centreRows, type EmbeddingSpace } from './embed/space.js';
import { generalSlots, generalTask, trainedLayout } from './general.js';
import { type BuildHooks, type BuildInputs, type BuildPoolOptions, type BuildStage, readInputs } from './inputs.js';
import { largestLayout, planMemory } from './plan.js';
import { densePoints, type Points, sparsePoints } from './points.js';
import { TRAINERS } from './trainers/index.js';
import { TRAINER_DEFAULTS } from './trainers/options.js';
import type { TrainingTask } from './trainers/trainer.js';
import { WorkDirectory, workPath } from './work-directory.js';

export const trainerOf = ({ trainer }: BuildPoolOptions) => TRAINERS[(trainer ?? TRAINER_DEFAULTS).name];

/** What a verb needs of a build beside its inputs; all of it in one go. */
export interface BuildNeeds {
  /** the parts in which batches are read are planned by the memory of this machine */
  plansMemory: boolean;
  /** the weights are read before anything else, so that what is wrong with them is said at once; else when they are first needed */
  opensModel: boolean;
  /** what the plan calls the base and the data, which are read from other places here */
  names?: Pick<BuildInputs, 'baseName' | 'sources'> | undefined;
}
const EVERYTHING: BuildNeeds = { plansMemory: true, opensModel: true };

/** Reads and checks everything before any work, and leaves in order what the work opens. */
export async function withBuild<T>(
  options: BuildPoolOptions,
  hooks: BuildHooks,
  run: (build: Build) => Promise<T>,
  { plansMemory, opensModel, names }: BuildNeeds = EVERYTHING,
): Promise<T> {
  const progress = hooks.onProgress ?? (() => {});
  const during = (stage: BuildStage) => (done: number, total: number) => progress({ stage, done, total });
  const inputs = { ...readInputs(options, progress), ...names };
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
    const isPlanned = needsModel && plansMemory;
    const micro = isPlanned ? planMemory(options, inputs, largestLayout(options, inputs)) : undefined;
    if (needsModel && opensModel) model();
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

/** What the stages before the training come to. */
export type Staged = Awaited<ReturnType<typeof untilTraining>>;

/** The stages before the training. */
export async function untilTraining(build: Build) {
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
  const members = membersOf(assignment, N);
  const samples = members.map((ofCluster, c) => evaluationSample(ofCluster, c, sample));
  const evaluated = samples.flat();
  const layout = trainedLayout(inputs, options, N);
  const parts = { options, hooks, inputs, work, layout, gates, evaluated, model, micro };
  const general = options.general && generalTask(parts, options.general);
  const task: TrainingTask = { ...parts, phase: 'train', general };
  return { task, space, clustering, similarities, members, samples };
}

/** Between two stages, whose results are kept. */
export async function stopIfAsked({ signal }: BuildHooks, stage: string): Promise<void> {
  await eventLoopTurn();
  if (!signal?.aborted) return;
  throw new CrayonError('interrupted', `stopped after the ${stage}`, { hint: 'The same command continues from here.' });
}

/** What the stages of a build share. */
export interface Build {
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
