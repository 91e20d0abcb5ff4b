/** Sequences scored by the engine that serves: `crayon score --engine`, and customisations that choose by evidence. */

import { isCrayonError } from '../core/errors.js';
import { sleep, systemClock } from '../engine/clock.js';
import { commonLength } from '../engine/llama/reader.js';
import type { AdapterScale, DeviceEngine, ScoreRequest } from '../engine/types.js';
import type { CompletionScore, SequenceScorer } from '../train/completion-score.js';

export interface EngineScorerOptions {
  signal?: AbortSignal | undefined;
  onProgress?: ((done: number, total: number) => void) | undefined;
  /**
   * While others are answered: a prompt is read a batch at a time, behind whoever waits, and answers in batches too, which is quicker than
   * token by token as they are served, and another rounding.
   */
  beside?: boolean;
}

/** What a request that waits in the engine's queue has to wait for: one batch of the prompt. */
const BATCH = 128;

/** Until an engine whose queue is full is asked again. */
const AGAIN_MS = 50;

/**
 * One sequence after the other: what they have in common at their beginning is then read once.
 *
 * @param adaptersOf the adapters of an example
 */
export function engineScorer(
  device: Pick<DeviceEngine, 'scoreTokens'>,
  adaptersOf: (example: number) => AdapterScale[],
  { signal = new AbortController().signal, onProgress = () => {}, beside = false }: EngineScorerOptions = {},
): SequenceScorer {
  const scored = async (request: ScoreRequest): Promise<ReturnType<DeviceEngine['scoreTokens']>> => {
    for (;;) {
      try {
        return await device.scoreTokens(request);
      } catch (error) {
        if (!beside || !isCrayonError(error, 'engine-busy')) throw error;
        await sleep(systemClock, AGAIN_MS, signal);
      }
    }
  };
  return async (sequences, owners) => {
    const scores: CompletionScore[] = [];
    for (const [i, { ids: given, promptLength: from }] of sequences.entries()) {
      const ids = [...given];
      const how = { topLogprobs: 0, asGenerated: !beside, adapters: adaptersOf(owners[i]!), signal };
      // What is read stays in the cache; what the example's last sequence has left there must not be read again.
      const read = i > 0 && owners[i] === owners[i - 1] ? commonLength([...sequences[i - 1]!.ids], ids) : 0;
      for (let end = BATCH; beside && end < from; end += BATCH) {
        if (end > read) await scored({ ...how, ids: ids.slice(0, end), from: end - 1 });
      }
      const { tokens } = await scored({ ...how, ids, from });
      scores.push({
        logprob: tokens.reduce((sum, { logprob }) => sum + logprob, 0),
        tokens: tokens.length,
        isGreedy: tokens.every(({ id, best }) => id === best),
        likeliest: tokens.map(({ best }) => best),
      });
      onProgress(i + 1, sequences.length);
    }
    return scores;
  };
}
