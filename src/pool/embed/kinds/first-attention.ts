/**
 * Embedding kind `first-attention`, the Crayon paper's (arXiv 2406.07007): the query embedding of the base LLM's first
 * self-attention layer, averaged over the prompt's tokens and L2-normalised,
 *
 *     q(x) = normalise( mean_t  W_q . RMSNorm(E[x_t]) + b_q ),  before the rotary embedding,
 *
 * with E and the norm as the model's family has them (scaled, by 1 + weight, without a norm).
 * It depends on a few rows of the embedding table, one norm and one matrix, which are read at their offsets: the cost
 * does not grow with the model's depth, and no tensor library is loaded. W_q is linear, so the mean is taken first.
 */

import { familyOf } from '../../../hf/families.js';
import type { EmbeddingBase, InstantEmbed, InstantKind } from '../kind.js';

/** Tokens of a step. */
const STEP = 512;
/** Values of rows that are kept between calls: 64 MiB. */
const MOST_KEPT = 2 ** 24;

export const firstAttention: InstantKind = {
  name: 'first-attention',
  needs: 'rows',
  size: ({ numHeads, headDim }) => numHeads * headDim,
  open: (base) => firstAttentionEmbedder(base).embed,
};

/**
 * @param base a Hugging Face directory or a GGUF file, quantised or not: both give the same space, up to the quantisation
 * @returns the embedding's size d, query heads x head size, and what embeds token sequences: (n) -> (n, d) unit rows, row-major
 */
export function firstAttentionEmbedder(base: EmbeddingBase) {
  const { modelType, hiddenSize: C, numHeads, headDim, rmsNormEps, embeddingScale, attentionBias } = base.config;
  const { norms, normOffset, projections } = familyOf(modelType).block;
  const layer = 'model.layers.0';
  const norm = norms.attentionIn === null ? null : base.readF32(`${layer}.${norms.attentionIn}.weight`); // (C)
  if (normOffset !== 0) for (let j = 0; j < C; j++) norm![j]! += normOffset;
  const d = numHeads * headDim;
  const queries = `${layer}.${projections.attentionIn[0]}`;
  // Where one matrix has keys and values too, the queries are its first rows.
  const isFused = projections.attentionIn.length === 1;
  const weight = isFused
    ? base.readRowsF32(
        `${queries}.weight`,
        Array.from({ length: d }, (_, o) => o),
      )
    : base.readF32(`${queries}.weight`); // (d, C)
  const bias = attentionBias ? base.readF32(`${queries}.bias`) : null; // (d) and more where fused
  const rows = new Map<number, Float32Array>(); // the first layer's input of the tokens met so far, normalised where it is

  const load = (tokens: Set<number>) => {
    const missing = [...tokens].filter((token) => !rows.has(token)).sort((a, b) => a - b);
    const values = base.readRowsF32('model.embed_tokens.weight', missing);
    missing.forEach((token, i) => {
      const row = values.slice(i * C, (i + 1) * C);
      rows.set(token, row);
      if (embeddingScale !== 1) for (let j = 0; j < C; j++) row[j]! *= embeddingScale;
      if (norm === null) return;
      let square = 0;
      for (let j = 0; j < C; j++) square += row[j]! * row[j]!;
      const inverseRms = 1 / Math.sqrt(square / C + rmsNormEps);
      for (let j = 0; j < C; j++) row[j] = row[j]! * inverseRms * norm[j]!;
    });
  };

  const forget = (): void => {
    if (rows.size * C > MOST_KEPT) rows.clear();
  };

  function* embedded(ids: Int32Array): Generator<void, Float32Array, void> {
    // 1) mean over the tokens of the normalised embedding
    const mean = new Float64Array(C);
    for (let from = 0; from < ids.length; from += STEP) {
      const some = ids.subarray(from, from + STEP);
      load(new Set(some));
      for (const id of some) {
        const row = rows.get(id)!;
        for (let j = 0; j < C; j++) mean[j] = mean[j]! + row[j]!;
      }
      yield;
    }
    for (let j = 0; j < C; j++) mean[j] = mean[j]! / ids.length;
    // 2) query projection
    const q = new Float64Array(d);
    for (let o = 0; o < d; o++) {
      let sum = bias === null ? 0 : bias[o]!;
      for (let j = 0, from = o * C; j < C; j++) sum += weight[from + j]! * mean[j]!;
      q[o] = sum;
    }
    // 3) unit length
    const length = Math.sqrt(q.reduce((s, v) => s + v * v, 0)) || 1;
    return Float32Array.from(q, (value) => value / length);
  }

  const embed: InstantEmbed = (sequences) => {
    forget();
    load(new Set(sequences.flatMap((ids) => [...new Set(ids)])));
    const out = new Float32Array(sequences.length * d);
    for (const [i, ids] of sequences.entries()) {
      const working = embedded(ids);
      let made = working.next();
      while (!made.done) made = working.next();
      out.set(made.value, i * d);
    }
    return out;
  };
  embed.steps = (ids) => {
    forget();
    return embedded(ids);
  };

  return { d, embed };
}
