/** Log-probabilities of completions given their prompts: what every loss and multiple-choice score is made of. */

import { CrayonError } from '../core/errors.js';
import { eventLoopTurn } from '../core/long-work.js';
import { groupBy } from '../core/stats.js';
import type { Gates, LoraUse, Network, StackedAdapters } from '../model/network.js';
import { padBatch, type TrainingExample } from './batches.js';
import type { CompletionScore, SequenceScorer } from './completion-score.js';

/** Stacked adapters with the coefficients of each example, or with the same ones for all. */
export interface EvaluationLora extends StackedAdapters {
  /** coefficients, N numbers each; one entry serves all examples */
  gates: Gates;
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
  model: Network,
  examples: ReadonlyArray<TrainingExample>,
  { lora, batchSize = 16, onProgress, signal }: EvaluateOptions = {},
): Promise<CompletionScore[]> {
  const scores = new Array<CompletionScore>(examples.length);
  const alike = readAlike(examples, lora?.gates);
  const length = (group: number[]) => examples[group[0]!]!.ids.length;
  const byLength = alike.sort((a, b) => length(a) - length(b) || a[0]! - b[0]!);
  const adapters = lora && model.attach(lora);
  let done = 0;
  try {
    for (let at = 0; at < byLength.length; at += batchSize) {
      const groups = byLength.slice(at, at + batchSize);
      const padded = padBatch(examples, groups);
      const gates = groups.map(([i]) => gateOf(lora, i!));
      const use: LoraUse | undefined = adapters && { adapters, gates };
      const { targets: values, best: greedy } = await model.predict(padded, use);
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
    adapters?.dispose();
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
export function forwardScorer(model: Network, options: EvaluateOptions = {}): SequenceScorer {
  return (sequences, owners) => {
    const { lora } = options;
    const ofOwners = lora && lora.gates.length > 1 ? { ...lora, gates: owners.map((i) => lora.gates[i]!) } : lora;
    return scoreCompletions(model, sequences, { ...options, lora: ofOwners });
  };
}
