/** Log-probabilities of completions given their prompts: what every loss and multiple-choice score is made of. */

import { CrayonError } from '../core/errors.js';
import { eventLoopTurn } from '../core/long-work.js';
import { groupBy } from '../core/stats.js';
import type { Gates, LoraUse, Network, StackedAdapters } from '../model/network.js';
import { padBatch, type TrainingExample } from './batches.js';
import type { CompletionScore, SequenceScorer } from './completion-score.js';
import { packedBatches } from './packing.js';

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
  /** sequences read at a time, where they are not packed */
  batchSize?: number | undefined;
  onProgress?: ((done: number, total: number) => void) | undefined;
  signal?: AbortSignal | undefined;
}

/**
 * One score per example, in their order; internally batched by length.
 *
 * Examples that begin with the same prompt under the same coefficients, such as the choices of a question, are read behind it as
 * branches of one packed row where that spares tokens (src/train/packing.ts); else those that differ in their last token alone are
 * read once, which is only ever predicted.
 *
 * @throws CrayonError `interrupted` between two batches, when the signal fires
 */
export async function scoreCompletions(
  model: Network,
  examples: ReadonlyArray<TrainingExample>,
  { lora, batchSize = 16, onProgress, signal }: EvaluateOptions = {},
): Promise<CompletionScore[]> {
  const scores = Array.from(
    examples,
    (): CompletionScore => ({ logprob: 0, tokens: 0, isGreedy: true, likeliest: [] }),
  );
  const mixtures = numbered(examples, lora?.gates);
  const batches = packedBatches(examples, mixtures) ?? alikeBatches(examples, mixtures, batchSize);
  const adapters = lora && model.attach(lora);
  let done = 0;
  try {
    for (const { batch, members } of batches) {
      const gates = members.map(([i]) => gateOf(lora, i!));
      const use: LoraUse | undefined = adapters && { adapters, gates };
      const { targets: values, best: greedy } = await model.predict(batch, use);
      await eventLoopTurn();

      batch.owners.forEach((owner, p) => {
        const score = scores[owner]!;
        score.logprob += values[p]!;
        score.tokens++;
        score.likeliest.push(greedy[p]!);
        if (greedy[p] !== batch.targets[p]) score.isGreedy = false;
      });
      done += members.reduce((n, group) => n + group.length, 0);
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

/** Examples in rows of their own, those together that the model reads as the same tokens through the same mixture. */
function* alikeBatches(examples: readonly TrainingExample[], mixtures: Int32Array, batchSize: number) {
  const key = (i: number) => `${mixtures[i]}:${examples[i]!.ids.subarray(0, -1).join()}`;
  const alike = [...groupBy([...examples.keys()], key).values()];
  const length = (group: number[]) => examples[group[0]!]!.ids.length;
  const byLength = alike.sort((a, b) => length(a) - length(b) || a[0]! - b[0]!);
  for (let at = 0; at < byLength.length; at += batchSize) {
    const members = byLength.slice(at, at + batchSize);
    yield { batch: padBatch(examples, members), members };
  }
}

/** For each example a number that says which coefficients it has. */
function numbered(examples: readonly TrainingExample[], gates: EvaluationLora['gates'] = []): Int32Array {
  const numbers = new Map<string, number>();
  return Int32Array.from(examples, (_, i) => {
    if (gates.length < 2) return 0;
    const gate = Array.from(gates[i]!).join();
    if (!numbers.has(gate)) numbers.set(gate, numbers.size);
    return numbers.get(gate)!;
  });
}

/** Scores by the forward pass: the coefficients of `lora` are those of the examples that the sequences are of. */
export function forwardScorer(model: Network, options: EvaluateOptions = {}): SequenceScorer {
  return (sequences, owners) => {
    const { lora } = options;
    const ofOwners = lora && lora.gates.length > 1 ? { ...lora, gates: owners.map((i) => lora.gates[i]!) } : lora;
    return scoreCompletions(model, sequences, { ...options, lora: ofOwners });
  };
}
