/**
 * How many threads generate fastest: small models lose more by waiting for each other than they gain (95 tokens/s on two
 * threads, 154 on one, for 5 million parameters), so it is measured.
 */

import { availableParallelism } from 'node:os';
import type { LlamaModel, Token } from 'node-llama-cpp';

const WARM_UP_TOKENS = 4;
const CONTEXT_TOKENS = 256;
/** More threads must be faster by this to be worth their cores. */
const GAIN = 1.05;

export interface ThreadMeasurement {
  /** the best number */
  threads: number;
  /** what was tried, one thread first */
  tokensPerSecond: Array<{ threads: number; tokensPerSecond: number }>;
}

/**
 * Generates a few tokens with 1, 2, 4 ... threads, up to the number of cores, and stops where it gets slower.
 *
 * @param budgetMs for each number; the whole is a small multiple of it
 */
export async function measureThreads(
  model: LlamaModel,
  { cores = availableParallelism(), budgetMs = 250 }: { cores?: number; budgetMs?: number } = {},
): Promise<ThreadMeasurement> {
  const tokensPerSecond: ThreadMeasurement['tokensPerSecond'] = [];
  let best = { threads: 1, tokensPerSecond: 0 };
  for (const threads of candidates(cores)) {
    const tried = { threads, tokensPerSecond: await speed(model, threads, budgetMs) };
    tokensPerSecond.push(tried);
    if (tried.tokensPerSecond > best.tokensPerSecond * GAIN) best = tried;
    else if (threads > 2) break; // two may lose and four win; later ones do not
  }
  return { threads: best.threads, tokensPerSecond };
}

/** Powers of two, and all cores. */
function candidates(cores: number): number[] {
  const list: number[] = [];
  for (let threads = 1; threads < cores; threads *= 2) list.push(threads);
  return [...list, cores];
}

async function speed(model: LlamaModel, threads: number, budgetMs: number): Promise<number> {
  const contextSize = Math.min(CONTEXT_TOKENS, model.trainContextSize);
  const context = await model.createContext({ contextSize, sequences: 1, threads });
  try {
    const sequence = context.getSequence();
    const start = [(model.tokens.bos ?? model.tokens.eos ?? 0) as Token];
    let count = 0;
    let counted = 0; // tokens before `sinceMs`
    let sinceMs = performance.now();
    for await (const _ of sequence.evaluateWithMetadata(start, {}, { yieldEogToken: true })) {
      count++;
      const elapsedMs = performance.now() - sinceMs;
      if (elapsedMs >= budgetMs || count >= contextSize - 2) break; // even within the warm-up, if it is that slow
      if (count === WARM_UP_TOKENS) [counted, sinceMs] = [count, performance.now()];
    }
    return ((count - counted) / (performance.now() - sinceMs)) * 1000;
  } finally {
    await context.dispose();
  }
}
