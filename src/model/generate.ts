/**
 * Greedy decoding without a cache: every step reads the whole text again. For demonstrations and tests on small models;
 * serving is the llama.cpp engine's work.
 */

import * as tf from '@tensorflow/tfjs-core';
import type { LlamaModel, LoraBinding } from './llama.js';

export interface GenerateOptions {
  /** tokens to add at most */
  maxNewTokens: number;
  /** ids that end the text; not returned */
  stopIds?: readonly number[];
  /** binds a LoRA for a text of T tokens; the caller's factors outlive the call, the gate does not */
  lora?: (T: number) => LoraBinding;
}

/** The most probable continuation of the ids, one token at a time. @returns the new ids alone */
export async function generateGreedy(
  model: LlamaModel,
  prompt: ArrayLike<number>,
  { maxNewTokens, stopIds = [], lora }: GenerateOptions,
): Promise<number[]> {
  const ids = Array.from(prompt);
  const context = model.config.maxPositionEmbeddings;
  while (ids.length - prompt.length < maxNewTokens && ids.length < context) {
    const best = tf.tidy(() => {
      // Padded on the right to few different lengths: the mask and the rotary tables are kept per length.
      const T = Math.min(context, Math.ceil(ids.length / 16) * 16);
      const padded = Int32Array.from({ length: T }, (_, i) => ids[i] ?? 0);
      const hidden = model.forward(tf.tensor2d(padded, [1, T], 'int32'), { lora: lora?.(T) });
      return tf.argMax(model.logits(tf.slice(hidden, [ids.length - 1, 0], [1, -1])), 1);
    });
    const id = (await best.data())[0]!;
    best.dispose();
    if (stopIds.includes(id)) break;
    ids.push(id);
  }
  return ids.slice(prompt.length);
}
