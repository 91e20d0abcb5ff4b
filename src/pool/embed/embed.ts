/** Embeds the training set, and fixes the space in which users' prompts will be placed. */

import { meanRows } from '../../core/vector.js';
import type { LlamaModel } from '../../model/llama.js';
import type { BuildInputs } from '../inputs.js';
import { densePoints, type Points, sparsePoints } from '../points.js';
import type { WorkDirectory } from '../work-directory.js';
import type { InstantKind, Sequences } from './kind.js';
import { hiddenLayerOf, type NamedKind } from './kinds.js';
import { centreRows, type EmbeddingSpace } from './space.js';

export interface EmbedTrainingSet {
  kind: NamedKind;
  centred: boolean;
  inputs: Pick<BuildInputs, 'model' | 'examples' | 'bosId'>;
  /** the same model, open for forward passes */
  llama: LlamaModel;
  work: WorkDirectory;
  onProgress: (done: number, total: number) => void;
}

/** Prompts that are embedded between two progress reports, where no forward pass is needed. */
const CHUNK = 256;

export async function embedTrainingSet(job: EmbedTrainingSet): Promise<{ points: Points; space: EmbeddingSpace }> {
  const { inputs, onProgress } = job;
  const { kind, name } = job.kind;
  const prompts = inputs.examples.map((example) => example.promptIds);
  const n = prompts.length;
  const isInstant = kind.needs !== 'forward pass';
  const idf = isInstant ? (kind.fit?.(prompts, inputs.model.config.vocabSize) ?? null) : null;
  if (isInstant && kind.sparse !== undefined) {
    const points = sparsePoints(kind.sparse(prompts, idf!));
    onProgress(n, n);
    return { points, space: { kind: name, d: points.d, mean: null, idf } };
  }
  const rows = isInstant ? instantRows(kind, idf, prompts, job) : await hiddenStates(prompts, job);
  const d = rows.length / n;
  const mean = job.centred ? Float32Array.from(meanRows(rows, n, d)) : null;
  if (mean !== null) centreRows(rows, mean);
  return { points: densePoints(rows, n, d), space: { kind: name, d, mean, idf } };
}

function instantRows(
  kind: InstantKind,
  idf: Float32Array | null,
  prompts: Sequences,
  { inputs: { model }, onProgress }: EmbedTrainingSet,
): Float32Array {
  const embed = kind.open(model, idf);
  const n = prompts.length;
  const d = kind.size(model.config);
  const rows = new Float32Array(n * d);
  for (let at = 0; at < n; at += CHUNK) {
    rows.set(embed(prompts.slice(at, at + CHUNK)), at * d);
    onProgress(Math.min(at + CHUNK, n), n);
  }
  return rows;
}

/** A forward pass over the whole training set takes minutes, so its result is kept for a continued run. */
async function hiddenStates(prompts: Sequences, job: EmbedTrainingSet): Promise<Float32Array> {
  const { kind, llama, work, onProgress } = job;
  const { model, bosId } = job.inputs;
  const n = prompts.length;
  const saved = work.load('embeddings', { rows: 'F32' });
  if (saved !== undefined) {
    onProgress(n, n);
    return saved.rows;
  }
  const layer = hiddenLayerOf(kind, model.config.numLayers)!;
  const { embedByForwardPass } = await import('./hidden-states.js');
  const rows = await embedByForwardPass(model, prompts, { model: llama, bosId }, { layer, onProgress });
  work.save('embeddings', { rows });
  return rows;
}
