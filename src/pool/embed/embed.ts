/** Embeds the training set, and fixes the space in which users' prompts will be placed. */

import { meanRows } from '../../core/vector.js';
import type { HfModel } from '../../hf/model.js';
import type { LlamaModel } from '../../model/llama.js';
import { densePoints, type Points, sparsePoints } from '../points.js';
import type { WorkDirectory } from '../work-directory.js';
import { firstAttentionEmbedder } from './first-attention.js';
import { hiddenStateEmbeddings } from './hidden-states.js';
import type { EmbeddingKind } from './kinds.js';
import { centreRows, type EmbeddingSpace } from './space.js';
import { inverseDocumentFrequencies, tfidfRows } from './tfidf.js';

export interface EmbedTrainingSet {
  kind: EmbeddingKind;
  centred: boolean;
  source: HfModel;
  model: LlamaModel;
  /** hidden state to read, for the kinds that need a forward pass */
  layer: number | undefined;
  examples: ReadonlyArray<{ promptIds: Int32Array }>;
  /** put before every prompt in a forward pass; null for none */
  bosId: number | null;
  work: WorkDirectory;
  onProgress: (done: number, total: number) => void;
}

/** Prompts that are embedded between two progress reports, where no forward pass is needed. */
const CHUNK = 256;

export async function embedTrainingSet(job: EmbedTrainingSet): Promise<{ points: Points; space: EmbeddingSpace }> {
  const { kind, examples, source, onProgress } = job;
  const sequences = examples.map((e) => e.promptIds);
  const n = sequences.length;

  if (kind === 'tfidf') {
    const idf = inverseDocumentFrequencies(sequences, source.config.vocabSize);
    const points = sparsePoints(tfidfRows(sequences, idf));
    onProgress(n, n);
    return { points, space: { kind, d: idf.length, mean: null, idf } };
  }

  let rows: Float32Array;
  if (kind === 'first-attention') {
    const embedder = firstAttentionEmbedder(source);
    rows = new Float32Array(n * embedder.d);
    for (let at = 0; at < n; at += CHUNK) {
      rows.set(embedder.embed(sequences.slice(at, at + CHUNK)), at * embedder.d);
      onProgress(Math.min(at + CHUNK, n), n);
    }
  } else {
    rows = await hiddenStates(job, sequences);
  }
  const d = rows.length / n;
  const mean = job.centred ? Float32Array.from(meanRows(rows, n, d)) : null;
  if (mean !== null) centreRows(rows, mean);
  return { points: densePoints(rows, n, d), space: { kind, d, mean, idf: null } };
}

/** A forward pass over the whole training set takes minutes, so its result is kept for a continued run. */
async function hiddenStates(job: EmbedTrainingSet, sequences: Int32Array[]): Promise<Float32Array> {
  const { model, layer, bosId, work, onProgress } = job;
  const saved = work.load('embeddings');
  if (saved !== undefined) {
    const rows = saved.readF32('rows');
    saved.close();
    onProgress(sequences.length, sequences.length);
    return rows;
  }
  const rows = await hiddenStateEmbeddings(model, withBos(sequences, bosId), {
    layer: layer!,
    skip: bosId === null ? 0 : 1,
    onProgress,
  });
  const shape = [sequences.length, rows.length / sequences.length];
  work.save('embeddings', [{ name: 'rows', dtype: 'F32', shape, data: rows }]);
  return rows;
}

export function withBos(sequences: ReadonlyArray<Int32Array>, bosId: number | null): Int32Array[] {
  return sequences.map((ids) => (bosId === null ? ids : Int32Array.of(bosId, ...ids)));
}
