/** The model's own answer to a prompt, greedily decoded, with or without an adapter. */

import * as tf from '@tensorflow/tfjs-core';
import type { Tokenizer } from '../hf/tokenizer.js';
import { generateGreedy } from '../model/generate.js';
import type { LlamaModel } from '../model/llama.js';
import type { EvaluationLora } from './evaluate.js';
import { bindLora, factorSlices } from './lora-binding.js';

/** @param lora its first gate is used */
export async function answerPrompt(
  model: LlamaModel,
  tokenizer: Tokenizer,
  prompt: string,
  { maxNewTokens = 24, lora }: { maxNewTokens?: number; lora?: EvaluationLora } = {},
): Promise<string> {
  const stopIds = model.config.eosTokenIds;
  const ids = tokenizer.encode(prompt);
  if (lora === undefined) return tokenizer.decode(await generateGreedy(model, ids, { maxNewTokens, stopIds }));
  const slices = tf.tidy(() => factorSlices(lora.layout, tf.tensor1d(lora.parameters)));
  try {
    const bind = (T: number) => bindLora(lora, [lora.gates[0]!], T, slices);
    return tokenizer.decode(await generateGreedy(model, ids, { maxNewTokens, stopIds, lora: bind }));
  } finally {
    tf.dispose(slices);
  }
}
