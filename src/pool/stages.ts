/**
 * The stages of a build that come before its training, each kept in the work directory: examples, embedding, clusters, and what is to be
 * trained. Whoever builds, in one go or in three verbs (units/), goes through them.
 */

import { CrayonError, isCrayonError } from '../core/errors.js';
import { formatBytes, formatCount } from '../core/format.js';
import { gate } from '../core/gate.js';
import { eventLoopTurn } from '../core/long-work.js';
import { checkFinite, meanRows, oneHot } from '../core/vector.js';
import { warn } from '../core/warning.js';
import type { Network } from '../model/network.js';
import { openNetwork } from '../model/open-network.js';
import type { MicroBatches } from '../train/micro-batches.js';
import { candidateCounts, clusterPoints, evaluationSample, membersOf, type PoolClusters } from './cluster.js';
import type { InstantEmbed, Sequences } from './embed/kind.js';
import { hiddenLayerOf, type NamedKind, parseEmbeddingKind } from './embed/kinds.js';
import { ShardedRows, shardStage, writeShards } from './embed/shards.js';
import { centreRows, type EmbeddingSpace } from './embed/space.js';
import { generalSlots, generalTask, trainedLayout } from './general.js';
import { type BuildHooks, type BuildInputs, type BuildPoolOptions, type BuildStage, readInputs } from './inputs.js';
import { clusterInBatches, similaritiesOf } from './mini-batch.js';
import { largestLayout, memoryBudget, planMemory } from './plan.js';
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
    refuseSparseBatches(options, kind);
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
    // Numbers that diverged would diverge again, and another learning rate is another run; a joint phase's is another plan of the same one.
    if (isCrayonError(error, 'loss-not-finite') && options.joint === undefined) work?.remove();
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
  const embedded = await embedTrainingSet(build);
  const { rows, space } = embedded;
  let clustering: PoolClusters;
  let similarities: Float32Array;
  try {
    await stopIfAsked(hooks, 'embedding');

    // 3) cluster
    clustering = await cluster(build, rows);
    const { centroids, k } = clustering;
    similarities =
      rows instanceof ShardedRows
        ? await similaritiesOf(rows, centroids, k, () => stopIfAsked(hooks, 'clustering'))
        : rows.similarities(centroids, k);
  } finally {
    rows.dispose();
  }
  const { k: N, assignment } = clustering;
  const slots = generalSlots(options);
  const gates = examples.map((_, i) => {
    const row = similarities.subarray(i * N, (i + 1) * N);
    const isMixed = options.mode === 'joint' || options.joint !== undefined;
    const alpha = isMixed ? gate(row, options.tau) : oneHot(assignment[i]!, N);
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

/** Embeds the training set, and fixes the space in which users' prompts will be placed: in memory, or in shards for mini-batches. */
async function embedTrainingSet(build: Build): Promise<{ rows: Points | ShardedRows; space: EmbeddingSpace }> {
  const { options, inputs, during, hooks, work } = build;
  const { kind, name } = build.kind;
  const prompts = inputs.examples.map((example) => example.promptIds);
  const n = prompts.length;
  const isInstant = kind.needs !== 'forward pass';
  const idf = isInstant ? (kind.fit?.(prompts, inputs.model.config.vocabSize) ?? null) : null;
  if (isInstant && kind.sparse !== undefined) {
    const points = sparsePoints(kind.sparse(prompts, idf!));
    during('embed')(n, n);
    return { rows: points, space: { kind: name, d: points.d, mean: null, idf } };
  }
  const d = kind.size(inputs.model.config);
  const embed = isInstant ? instantRows(kind.open(inputs.model, idf), d) : hiddenStates(build);
  if (isInBatches(build, n, d)) {
    const pause = () => stopIfAsked(hooks, 'embedding of a shard');
    const checked = async (...some: Parameters<typeof embed>) => checkFinite(await embed(...some), EMBEDDING);
    await writeShards({ dir: work.path, prompts, d, embed: checked, pause, onProgress: during('embed') });
    const shards = new ShardedRows(work.path, n, d);
    if (options.centred) shards.centre = Float32Array.from(shards.mean());
    return { rows: shards, space: { kind: name, d, mean: shards.centre, idf } };
  }
  const rows = isInstant ? await embed(prompts, (done) => during('embed')(done, n)) : await kept(build, prompts, embed);
  const mean = options.centred ? Float32Array.from(meanRows(rows, n, d)) : null;
  checkFinite(rows, EMBEDDING);
  if (mean !== null) centreRows(rows, mean);
  return { rows: densePoints(rows, n, d), space: { kind: name, d, mean, idf } };
}

const EMBEDDING = 'the embedding of an example';

function refuseSparseBatches({ clustering }: BuildPoolOptions, { kind, name }: NamedKind): void {
  if (clustering !== 'mini-batch' || kind.needs === 'forward pass' || kind.sparse === undefined) return;
  throw new CrayonError('bad-option', `clustering is mini-batch, but embedding ${name} has sparse rows`, {
    hint: 'Leave --clustering out: sparse rows take little memory. Or name another --embedding.',
  });
}

/** What k-means in memory takes of each example: its row twice, and the bounds of its angles (src/pool/angle-bounds.ts). */
const fullBytes = (d: number, k: number) => 8 * d + 4 * k + 24;
/** Of one file's embeddings, as Node writes them at once. */
const MOST_FILE_BYTES = 2 ** 32;

/** Whether the embeddings stay on disk: as was asked for, or as an earlier run began, or where memory cannot hold them. */
function isInBatches({ options, work }: Build, n: number, d: number): boolean {
  const { clustering, clusters, memory } = options;
  if (clustering !== undefined) return clustering === 'mini-batch';
  if (work.has('clusters') || work.has(MINI_BATCH)) return work.has(MINI_BATCH);
  if (work.has(shardStage(0)) || work.has('embeddings')) return work.has(shardStage(0));
  const needed = n * fullBytes(d, Math.max(...candidateCounts(n, clusters)));
  const budget = memoryBudget(memory);
  const free = budget - process.memoryUsage().rss; // of which a large base model may leave little: training needs it too
  if (needed <= Math.max(free, budget / 4) && 4 * n * d < MOST_FILE_BYTES) return false;
  warn(
    `The embeddings of ${formatCount(n)} examples would take ${formatBytes(needed)} of memory: they stay on disk, and are clustered in mini-batches. A larger --memory clusters them at once, where one file of them has less than ${formatBytes(MOST_FILE_BYTES)}.`,
  );
  return true;
}

type Embed = (prompts: Sequences, onProgress: (done: number) => void) => Promise<Float32Array> | Float32Array;

const instantRows =
  (embed: InstantEmbed, d: number): Embed =>
  (prompts, onProgress) => {
    const rows = new Float32Array(prompts.length * d);
    for (let at = 0; at < prompts.length; at += CHUNK) {
      rows.set(embed(prompts.slice(at, at + CHUNK)), at * d);
      onProgress(Math.min(at + CHUNK, prompts.length));
    }
    return rows;
  };

const hiddenStates =
  (build: Build): Embed =>
  async (prompts, onProgress) => {
    const { inputs, kind } = build;
    const model = build.model();
    const layer = hiddenLayerOf(kind, model.config.numLayers)!;
    const { embedByForwardPass } = await import('./embed/hidden-states.js');
    const forward = { model, bosId: inputs.bosId };
    return await embedByForwardPass(inputs.model, prompts, forward, { layer, onProgress });
  };

/** A forward pass over the whole training set takes minutes, so its result is kept for a continued run. */
async function kept({ work, during }: Build, prompts: Sequences, embed: Embed): Promise<Float32Array> {
  const n = prompts.length;
  const saved = work.load('embeddings', { rows: 'F32' });
  if (saved !== undefined) {
    during('embed')(n, n);
    return saved.rows;
  }
  const rows = await embed(prompts, (done) => during('embed')(done, n));
  work.save('embeddings', { rows });
  return rows;
}

/** The state of mini-batches, kept by round. */
const MINI_BATCH = 'mini-batch';

/** Cheap and deterministic for a given back end, but kept all the same: a run may be continued on another machine. */
async function cluster(build: Build, rows: Points | ShardedRows): Promise<PoolClusters> {
  const { options, hooks, work } = build;
  const { clusters, seed } = options;
  const onProgress = build.during('cluster');
  const inBatches = rows instanceof ShardedRows;
  const saved = work.load('clusters', { centroids: 'F32', assignment: 'I32', silhouette: 'F64' });
  if (saved !== undefined) {
    onProgress(1, 1);
    return { ...saved, k: saved.centroids.length / rows.d, silhouette: saved.silhouette[0]!, inBatches };
  }
  const result = inBatches
    ? await clusterInBatches(rows, {
        ...{ clusters, seed, onProgress },
        state: work.load(MINI_BATCH, { sums: 'F64', costs: 'F64', ended: 'I32' }),
        keep: (state) => work.save(MINI_BATCH, { ...state }),
        breathe: () => stopIfAsked(hooks, 'clustering of a batch'),
      })
    : clusterPoints(rows, { clusters, seed, onProgress });
  const { centroids, assignment, silhouette } = result;
  work.save('clusters', { centroids, assignment, silhouette: Float64Array.of(silhouette) });
  return { ...result, inBatches };
}
