/** The model's own answer to a prompt, greedily decoded, with or without an adapter. */

import * as tf from '@tensorflow/tfjs-core';
import type { Tokenizer } from '../hf/tokenizer.js';
import { generateGreedy } from '../model/generate.js';
import type { LlamaModel } from '../model/llama.js';
import type { EvaluationLora } from './evaluate.js';
import { bindFactors, factorSlices, gateTensor } from './lora-binding.js';

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
  const { layout, loraAlpha, gates, parameters } = lora;
  const slices = tf.tidy(() => factorSlices(layout, tf.tensor1d(parameters)));
  try {
    const factors = bindFactors(layout, slices);
    const bind = (T: number) => ({ factors, gate: gateTensor([gates[0]!], T, layout.r, loraAlpha / layout.r) });
    return tokenizer.decode(await generateGreedy(model, ids, { maxNewTokens, stopIds, lora: bind }));
  } finally {
    tf.dispose(slices);
  }
}
