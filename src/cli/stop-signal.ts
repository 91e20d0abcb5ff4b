/** Ctrl-C and SIGTERM as an AbortSignal. */

import { CrayonError } from '../core/errors.js';

/**
 * For work that keeps what it has reached. A second Ctrl-C ends the process at once. The caller releases it when the work is
 * over.
 */
export function stopSignal(): { signal: AbortSignal; release: () => void } {
  const stop = new AbortController();
  const release = () => void process.off('SIGINT', onSignal).off('SIGTERM', onSignal);
  const onSignal = () => {
    stop.abort();
    // Not `once`, which would be gone too early: the spinner's own handler, called next, would see itself alone and end the
    // process at the first.
    setImmediate(release);
  };
  process.on('SIGINT', onSignal).on('SIGTERM', onSignal);
  return { signal: stop.signal, release };
}

/**
 * Runs `work` with such a signal.
 *
 * @throws CrayonError `interrupted` where the signal has fired, whatever the work threw because of it
 */
export async function untilInterrupted<T>(
  work: (signal: AbortSignal) => Promise<T>,
  message = 'stopped by a signal',
): Promise<T> {
  const { signal, release } = stopSignal();
  try {
    return await work(signal);
  } catch (error) {
    if (!signal.aborted) throw error;
    throw new CrayonError('interrupted', message, { cause: error });
  } finally {
    release();
  }
}
