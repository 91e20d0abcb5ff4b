/**
 * The forward pass of the embedding kinds `last-hidden` and `hidden:<layer>`: the mean over the prompt's tokens of the base
 * LLM's hidden states, L2-normalised. It needs a tensor back end, so the kinds import this file when they embed.
 */

import { eventLoopTurn } from '../../core/long-work.js';
import type { BaseModel } from '../../hf/base-model.js';
import { chooseBackend } from '../../model/backend.js';
import type { Network } from '../../model/network.js';
import { openNetwork } from '../../model/open-network.js';
import type { ForwardPass, Sequences } from './kind.js';

/** Unit embeddings (n, C) of prompts, by the model that is given or one that is loaded for these prompts alone. */
export function embedByForwardPass(
  source: BaseModel,
  prompts: Sequences,
  { bosId, ...forward }: ForwardPass & { bosId: number | null },
  options: { layer: number; onProgress?: HiddenStateOptions['onProgress'] },
): Promise<Float32Array> {
  const sequences = prompts.map((ids) => (bosId === null ? ids : Int32Array.of(bosId, ...ids)));
  const skip = bosId === null ? 0 : 1;
  return throughNetwork(source, forward, (model) => hiddenStateEmbeddings(model, sequences, { ...options, skip }));
}

/** Uses the model that is given, or one that is loaded for this use alone. */
export async function throughNetwork<T>(
  source: BaseModel,
  { model: given, backend = 'auto', onBackend }: ForwardPass,
  use: (model: Network) => Promise<T>,
): Promise<T> {
  if (given !== undefined) return use(given);
  const { name, detail } = await chooseBackend(backend);
  onBackend?.(`${name} (${detail})`);
  const model = openNetwork(source);
  try {
    return await use(model);
  } finally {
    model.dispose();
  }
}

export interface HiddenStateOptions {
  /** hidden state as transformers numbers them: 0 the embeddings, `numLayers` the last one after the final norm */
  layer: number;
  /** leading tokens of every sequence that are read but left out of the mean: 1 where it is the BOS token */
  skip?: number;
  batchSize?: number;
  onProgress?: (done: number, total: number) => void;
}

/** Unit embeddings (n, C), row-major, in the order of the sequences. */
export async function hiddenStateEmbeddings(
  model: Network,
  sequences: ReadonlyArray<Int32Array>,
  { layer, skip = 0, batchSize = 16, onProgress }: HiddenStateOptions,
): Promise<Float32Array> {
  const C = model.config.hiddenSize;
  const out = new Float32Array(sequences.length * C);
  const byLength = sequences.map((_, i) => i).sort((i, j) => sequences[i]!.length - sequences[j]!.length || i - j);
  for (let at = 0; at < byLength.length; at += batchSize) {
    const members = byLength.slice(at, at + batchSize);
    const B = members.length;
    const T = Math.ceil(Math.max(...members.map((i) => sequences[i]!.length)) / 16) * 16;
    const ids = new Int32Array(B * T);
    const share = new Float32Array(B * T); // 1/count at the tokens that are averaged, 0 elsewhere
    members.forEach((i, b) => {
      const { length } = sequences[i]!;
      ids.set(sequences[i]!, b * T);
      share.fill(1 / (length - skip), b * T + skip, b * T + length);
    });
    const values = await model.embed({ ids, B, T }, layer, share);
    await eventLoopTurn();
    members.forEach((i, b) => {
      out.set(values.subarray(b * C, (b + 1) * C), i * C);
    });
    onProgress?.(Math.min(at + batchSize, sequences.length), sequences.length);
  }
  return out;
}
