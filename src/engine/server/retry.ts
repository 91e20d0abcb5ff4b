/** Further attempts: which failures get one, and how long is waited before it. */

import { CrayonError } from '../../core/errors.js';
import type { Random } from '../../core/random.js';
import { sleep } from '../clock.js';
import type { Deadline } from './deadline.js';
import { serverErrorOf } from './error.js';
import type { BackoffOptions, Settings } from './options.js';

/**
 * How long to wait before attempt number `attempt` (from 1), in milliseconds; null: no further attempt.
 *
 * The server's own wish comes first. Else the waits double, less a random part of up to a half, so that many clients that failed
 * together do not come back together.
 */
export function waitBefore(attempt: number, error: unknown, backoff: BackoffOptions, random: Random): number | null {
  const details = serverErrorOf(error);
  if (details === null || !details.retryable) return null;
  const { baseMs, maxMs, maxRetryAfterMs } = backoff;
  if (details.retryAfterMs !== null) return details.retryAfterMs <= maxRetryAfterMs ? details.retryAfterMs : null;
  return Math.round(Math.min(maxMs, baseMs * 2 ** (attempt - 1)) * (1 - random.uniform() / 2));
}

/**
 * Runs `attempt` until it succeeds, fails for good, or there are no retries left.
 *
 * @param call the whole call: no wait goes beyond its end
 * @throws CrayonError the last attempt's, which says how many there were; `interrupted` when the signal fires in a wait
 */
export async function withRetries<T>(
  { retries, backoff, clock, onEvent }: Settings,
  random: Random,
  { signal, endsAt }: Deadline,
  attempt: () => Promise<T>,
): Promise<T> {
  for (let attempts = 1; ; attempts++) {
    try {
      return await attempt();
    } catch (error) {
      const waitMs = signal.aborted || attempts > retries ? null : waitBefore(attempts, error, backoff, random);
      if (waitMs === null || clock.now() + waitMs >= endsAt) throw withAttempts(error, attempts);
      const { code } = error as CrayonError;
      onEvent({ type: 'retry', attempt: attempts, waitMs, code, status: serverErrorOf(error)?.status ?? null });
      await sleep(clock, waitMs, signal);
    }
  }
}

function withAttempts(error: unknown, attempts: number): unknown {
  if (attempts === 1 || !(error instanceof CrayonError) || serverErrorOf(error) === null) return error;
  const { code, message, hint, cause } = error;
  return new CrayonError(code, `${message} (after ${attempts} attempts)`, { hint, cause });
}
