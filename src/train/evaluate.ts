/** Log-probabilities of completions given their prompts: what every loss and multiple-choice score is made of. */

import * as tf from '@tensorflow/tfjs-core';
import { CrayonError } from '../core/errors.js';
import { eventLoopTurn } from '../core/long-work.js';
import { groupBy } from '../core/stats.js';
import type { LlamaModel } from '../model/llama.js';
import { targetLogprobs } from '../model/ops.js';
import { padBatch, type TrainingExample } from './batches.js';
import type { CompletionScore, SequenceScorer } from './completion-score.js';
import { bindLora, factorSlices, targetLogits } from './lora-binding.js';
import type { LoraLayout } from './lora-layout.js';

/** Stacked adapters with the coefficients of each example, or with the same ones for all. */
export interface EvaluationLora {
  layout: LoraLayout;
  /** the flat vector of `layout` */
  parameters: Float32Array;
  loraAlpha: number;
  /** coefficients, N numbers each; one entry serves all examples */
  gates: ReadonlyArray<ArrayLike<number>>;
}

/** The coefficients of one example; none without adapters. */
export function gateOf(lora: EvaluationLora | undefined, example: number): ArrayLike<number> {
  return lora?.gates[lora.gates.length === 1 ? 0 : example] ?? [];
}

export interface EvaluateOptions {
  lora?: EvaluationLora | undefined;
  /** sequences read at a time */
  batchSize?: number | undefined;
  onProgress?: ((done: number, total: number) => void) | undefined;
  signal?: AbortSignal | undefined;
}

/**
 * One score per example, in their order; internally batched by length.
 *
 * Examples that differ in their last token alone, such as the one-word choices of a question, are read once: the last
 * token is only ever predicted.
 *
 * @throws CrayonError `interrupted` between two batches, when the signal fires
 */
export async function scoreCompletions(
  model: LlamaModel,
  examples: ReadonlyArray<TrainingExample>,
  { lora, batchSize = 16, onProgress, signal }: EvaluateOptions = {},
): Promise<CompletionScore[]> {
  const scores = new Array<CompletionScore>(examples.length);
  const alike = readAlike(examples, lora?.gates);
  const length = (group: number[]) => examples[group[0]!]!.ids.length;
  const byLength = alike.sort((a, b) => length(a) - length(b) || a[0]! - b[0]!);
  const flat = lora === undefined ? undefined : tf.tensor1d(lora.parameters);
  let done = 0;
  try {
    for (let at = 0; at < byLength.length; at += batchSize) {
      const groups = byLength.slice(at, at + batchSize);
      const padded = padBatch(examples, groups);
      const [logprobs, best] = tf.tidy(() => {
        const gates = groups.map(([i]) => gateOf(lora, i!));
        const binding = lora && bindLora(lora, gates, padded.T, factorSlices(lora.layout, flat!));
        const logits = targetLogits(model, padded, binding);
        return [targetLogprobs(logits, tf.tensor1d(padded.targets, 'int32')), tf.argMax(logits, 1)];
      });
      const [values, greedy] = await Promise.all([logprobs.data(), best.data()]);
      tf.dispose([logprobs, best]);
      await eventLoopTurn();

      for (const i of groups.flat()) scores[i] = { logprob: 0, tokens: 0, isGreedy: true, likeliest: [] };
      padded.owners.forEach((owner, p) => {
        const score = scores[owner]!;
        score.logprob += values[p]!;
        score.tokens++;
        score.likeliest.push(greedy[p]!);
        if (greedy[p] !== padded.targets[p]) score.isGreedy = false;
      });
      done += groups.reduce((n, group) => n + group.length, 0);
      onProgress?.(done, examples.length);
      if (signal?.aborted) {
        throw new CrayonError('interrupted', `stopped after ${done} of ${examples.length} sequences`);
      }
    }
  } finally {
    flat?.dispose();
  }
  return scores;
}

/** Indices of the examples, those together that the model reads as the same tokens through the same mixture. */
function readAlike(examples: ReadonlyArray<TrainingExample>, gates: EvaluationLora['gates'] = []): number[][] {
  const numbers = new Map<ArrayLike<number>, number>();
  const key = (i: number) => {
    const gate = gates.length > 1 ? gates[i]! : undefined;
    if (gate !== undefined && !numbers.has(gate)) numbers.set(gate, numbers.size);
    return `${gate === undefined ? '' : numbers.get(gate)}:${examples[i]!.ids.subarray(0, -1).join()}`;
  };
  const indices = examples.map((_, i) => i);
  return [...groupBy(indices, key).values()];
}

/** Scores by the forward pass: the coefficients of `lora` are those of the examples that the sequences are of. */
export function forwardScorer(model: LlamaModel, options: EvaluateOptions = {}): SequenceScorer {
  return (sequences, owners) => {
    const { lora } = options;
    const ofOwners = lora && lora.gates.length > 1 ? { ...lora, gates: owners.map((i) => lora.gates[i]!) } : lora;
    return scoreCompletions(model, sequences, { ...options, lora: ofOwners });
  };
}
