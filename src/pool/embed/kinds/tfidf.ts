/**
 * Embedding kind `tfidf`: term frequency times inverse document frequency over the base tokenizer's tokens, L2-normalised.
 * It needs no model at all on the device; the training set's document frequencies travel in the pool.
 *
 * Weights as in scikit-learn's TfidfVectorizer(sublinear_tf=True, smooth_idf=True):
 * tf = 1 + ln(count), idf = ln((1 + n) / (1 + df)) + 1.
 */

import { denseRows, type SparseRows } from '../../sparse-rows.js';
import type { InstantKind } from '../kind.js';

export const tfidf: InstantKind = {
  name: 'tfidf',
  needs: 'tokenizer',
  size: ({ vocabSize }) => vocabSize,
  fit: inverseDocumentFrequencies,
  sparse: tfidfRows,
  open: (_base, idf) => (prompts) => denseRows(tfidfRows(prompts, idf!)),
};

/** Inverse document frequencies of a training set. documents: token ids -> (vocabSize) */
export function inverseDocumentFrequencies(documents: ReadonlyArray<Int32Array>, vocabSize: number): Float32Array {
  const df = new Float64Array(vocabSize);
  for (const ids of documents) for (const id of new Set(ids)) df[id] = df[id]! + 1;
  return Float32Array.from(df, (count) => Math.log((1 + documents.length) / (1 + count)) + 1);
}

/** Unit tf-idf vectors. A document without tokens becomes a zero row. */
export function tfidfRows(documents: ReadonlyArray<Int32Array>, idf: Float32Array): SparseRows {
  const offsets = new Int32Array(documents.length + 1);
  const columns: number[] = [];
  const values: number[] = [];
  documents.forEach((ids, i) => {
    const counts = new Map<number, number>();
    for (const id of ids) counts.set(id, (counts.get(id) ?? 0) + 1);
    const entries = [...counts].sort(([a], [b]) => a - b).map(([id, c]) => [id, (1 + Math.log(c)) * idf[id]!] as const);
    const norm = Math.sqrt(entries.reduce((sum, [, w]) => sum + w * w, 0)) || 1;
    for (const [id, weight] of entries) {
      columns.push(id);
      values.push(weight / norm);
    }
    offsets[i + 1] = columns.length;
  });
  return {
    n: documents.length,
    d: idf.length,
    offsets,
    columns: Int32Array.from(columns),
    values: Float32Array.from(values),
  };
}
