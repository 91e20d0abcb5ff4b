/** Examples scored by our float32 forward pass. */

import type { Example } from '../data/dataset.js';
import type { PromptForm } from '../hf/prompt-form.js';
import type { Tokenizer } from '../hf/tokenizer.js';
import type { Network } from '../model/network.js';
import { type EvaluateOptions, forwardScorer } from './evaluate.js';
import { type ScoreReport, scoredSequences, scoreThrough } from './score.js';

export interface ScoreOptions extends EvaluateOptions {
  model: Network;
  tokenizer: Tokenizer;
  examples: readonly Example[];
  /** in which prompts are given; plain when absent */
  form?: PromptForm | undefined;
  /** cut the front of a prompt that would exceed this many tokens */
  maxLength: number;
}

/**
 * @throws CrayonError `dataset-too-small` without an example, `example-too-long` where a completion or a choice alone
 *   exceeds the context
 */
export async function scoreExamples(options: ScoreOptions): Promise<ScoreReport> {
  const { model } = options;
  const made = scoredSequences({ ...options, vocabSize: model.config.vocabSize });
  const { report } = await scoreThrough(forwardScorer(model, options), made);
  return report;
}
