/** Log-probabilities of completions given their prompts: what every loss and multiple-choice score is made of. */

import * as tf from '@tensorflow/tfjs-core';
import { eventLoopTurn } from '../core/event-loop.js';
import type { LlamaModel, LoraBinding } from '../model/llama.js';
import { takeRows, targetLogprobs } from '../model/ops.js';
import { padBatch, type TrainingExample } from './batches.js';
import { bindFactors, factorSlices, gateTensor } from './lora-binding.js';
import type { LoraLayout } from './lora-layout.js';

export interface CompletionScore {
  /** sum over the completion's tokens of log p(token | what stands before it), in nats */
  logprob: number;
  /** completion tokens */
  tokens: number;
  /** whether greedy decoding would have produced exactly this completion */
  isGreedy: boolean;
}

/** Stacked adapters with the coefficients of each example, or with the same ones for all. */
export interface EvaluationLora {
  layout: LoraLayout;
  /** the flat vector of `layout` */
  parameters: Float32Array;
  loraAlpha: number;
  /** N numbers each; one entry serves all examples */
  gates: ReadonlyArray<ArrayLike<number>>;
}

export interface EvaluateOptions {
  lora?: EvaluationLora | undefined;
  batchSize?: number;
  onProgress?: (done: number, total: number) => void;
}

/** One score per example, in their order; internally batched by length. */
export async function scoreCompletions(
  model: LlamaModel,
  examples: ReadonlyArray<TrainingExample>,
  { lora, batchSize = 16, onProgress }: EvaluateOptions = {},
): Promise<CompletionScore[]> {
  const scores = new Array<CompletionScore>(examples.length);
  const byLength = examples.map((_, i) => i).sort((i, j) => examples[i]!.ids.length - examples[j]!.ids.length || i - j);
  const flat = lora === undefined ? undefined : tf.tensor1d(lora.parameters);
  try {
    for (let at = 0; at < byLength.length; at += batchSize) {
      const members = byLength.slice(at, at + batchSize);
      const padded = padBatch(members.map((i) => examples[i]!));
      const [logprobs, best] = tf.tidy(() => {
        let binding: LoraBinding | undefined;
        if (lora !== undefined) {
          const { layout, gates, loraAlpha } = lora;
          const coefficients = members.map((i) => gates[gates.length === 1 ? 0 : i]!);
          binding = {
            factors: bindFactors(layout, factorSlices(layout, flat!)),
            gate: gateTensor(coefficients, padded.T, layout.r, loraAlpha / layout.r),
          };
        }
        const ids = tf.tensor2d(padded.ids, [padded.B, padded.T], 'int32');
        const hidden = takeRows(model.forward(ids, { lora: binding }), tf.tensor1d(padded.rows, 'int32'));
        const logits = model.logits(hidden);
        return [targetLogprobs(logits, tf.tensor1d(padded.targets, 'int32')), tf.argMax(logits, 1)];
      });
      const [values, greedy] = await Promise.all([logprobs.data(), best.data()]);
      tf.dispose([logprobs, best]);
      await eventLoopTurn();

      for (const i of members) scores[i] = { logprob: 0, tokens: 0, isGreedy: true };
      padded.owners.forEach((owner, p) => {
        const score = scores[members[owner]!]!;
        score.logprob += values[p]!;
        score.tokens++;
        if (greedy[p] !== padded.targets[p]) score.isGreedy = false;
      });
      onProgress?.(Math.min(at + batchSize, examples.length), examples.length);
    }
  } finally {
    flat?.dispose();
  }
  return scores;
}

/** Mean negative log-likelihood per completion token, in nats. */
export function meanLoss(scores: ReadonlyArray<CompletionScore>): number {
  const tokens = scores.reduce((n, s) => n + s.tokens, 0);
  return -scores.reduce((sum, s) => sum + s.logprob, 0) / tokens;
}
