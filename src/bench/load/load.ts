/**
 * Load on a running server. Closed loop: a number of clients, each with one request at a time. Open loop: requests arrive by
 * the clock, whether or not the server keeps up, which is what many users do (Schroeder et al., "Open versus closed", 2006).
 */

import { CrayonError, isCrayonError } from '../../core/errors.js';
import { createRandom } from '../../core/random.js';
import { type Clock, sleep } from '../../engine/clock.js';
import type { TimedAnswer } from '../../engine/server/chat-client.js';
import { failureName } from '../../engine/server/error.js';
import type { LoadCell } from '../types.js';
import { nextGap } from './arrivals.js';
import { type GoodputLimits, type LoadResult, summariseLoad } from './summary.js';

export type LoadPattern =
  | { kind: 'closed'; clients: number }
  /** requests a second; `burstiness` 1 is Poisson */
  | { kind: 'open'; rate: number; burstiness: number };

export interface LoadPlan {
  pattern: LoadPattern;
  /** requests measured, at most; null for as many as fit the time */
  requests: number | null;
  /** no request is started after this; null for no limit. One of the two is given. */
  durationMs: number | null;
  /** asked before, one after another, and not counted */
  warmup: number;
  /** of the prompts' order and the arrivals */
  seed: number;
  limits: GoodputLimits;
}

export interface LoadOptions {
  plan: LoadPlan;
  /** asked in a seeded order, again and again */
  prompts: readonly string[];
  ask: (prompt: string, signal: AbortSignal) => Promise<TimedAnswer>;
  clock: Clock;
  signal: AbortSignal;
  /** key, device and network of the cell */
  labels: Pick<LoadCell, 'key' | 'device' | 'network'>;
  onProgress?: (progress: { done: number; failed: number; running: number }) => void;
}

/**
 * Runs one pattern to its end: every request that was started is waited for.
 *
 * @throws CrayonError of the first failed warm-up where none succeeds; `interrupted`; `dataset-too-small` without prompts
 */
export async function runLoad(options: LoadOptions): Promise<LoadCell> {
  const { plan, prompts, ask, clock, signal, labels } = options;
  if (prompts.length === 0) throw new CrayonError('dataset-too-small', 'no prompts, expected at least one to send');
  const next = promptOrder(prompts, plan.seed);
  await warmUp(plan.warmup, next, options);
  const results: LoadResult[] = [];
  let [failed, running, begun] = [0, 0, 0];
  const started = clock.now();
  const end = plan.durationMs === null ? Number.POSITIVE_INFINITY : started + plan.durationMs;
  const wanted = plan.requests ?? Number.POSITIVE_INFINITY;
  const mayStart = () => begun < wanted && clock.now() < end && !signal.aborted;

  async function one(): Promise<void> {
    begun++;
    running++;
    const prompt = next();
    try {
      results.push({ answer: await ask(prompt, signal) });
    } catch (error) {
      if (signal.aborted) return;
      if (!isCrayonError(error)) throw error;
      results.push({ failure: failureName(error) });
      failed++;
    }
    running--;
    options.onProgress?.({ done: results.length, failed, running });
  }

  if (plan.pattern.kind === 'closed') {
    const client = async () => {
      while (mayStart()) await one();
    };
    await Promise.all(Array.from({ length: plan.pattern.clients }, client));
  } else {
    const { rate, burstiness } = plan.pattern;
    const random = createRandom(plan.seed, 'load-arrivals');
    const open: Array<Promise<void>> = [];
    // Arrival times add up from the start: being late once does not make all that follow late.
    let at = started;
    while (mayStart()) {
      const request = one();
      request.catch(() => {}); // met below, after the arrivals
      open.push(request);
      at += 1000 * nextGap(random, rate, burstiness);
      if (at >= end || begun >= wanted) break;
      const wait = at - clock.now();
      if (wait > 0) await sleep(clock, wait, signal).catch(() => {}); // stopped: those under way are waited for
    }
    await Promise.all(open);
  }
  if (signal.aborted) throw new CrayonError('interrupted', 'stopped while the server was under load');
  return {
    ...labels,
    pattern: patternName(plan.pattern),
    ...summariseLoad(results, (clock.now() - started) / 1000, plan.limits),
  };
}

export function patternName(pattern: LoadPattern): string {
  if (pattern.kind === 'closed') return `closed, ${pattern.clients} client${pattern.clients === 1 ? '' : 's'}`;
  const { rate, burstiness } = pattern;
  const pace = rate === Number.POSITIVE_INFINITY ? 'all at once' : `${rate} requests/s`;
  return `open, ${pace}${burstiness === 1 ? '' : `, burstiness ${burstiness}`}`;
}

async function warmUp(count: number, next: () => string, { ask, signal }: LoadOptions): Promise<void> {
  let first: unknown;
  let failures = 0;
  for (let i = 0; i < count; i++) {
    try {
      await ask(next(), signal);
    } catch (error) {
      if (signal.aborted) throw error;
      first ??= error;
      failures++;
    }
  }
  if (count > 0 && failures === count) throw first;
}

/** All prompts in a seeded order, then all in another one. */
function promptOrder(prompts: readonly string[], seed: number): () => string {
  const random = createRandom(seed, 'load-prompts');
  let left: string[] = [];
  return () => {
    if (left.length === 0) left = random.shuffle([...prompts]);
    return left.pop()!;
  };
}
