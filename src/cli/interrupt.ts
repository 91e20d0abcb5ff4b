/** Work that Ctrl-C and SIGTERM end in good order. */

import { CrayonError } from '../core/errors.js';

/**
 * Runs `work` with a signal that fires on SIGINT or SIGTERM; a second one ends the process at once, as without this.
 *
 * @throws CrayonError `interrupted` where the signal has fired, whatever the work threw because of it
 */
export async function untilInterrupted<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const stop = new AbortController();
  const ignore = () => void process.off('SIGINT', onSignal).off('SIGTERM', onSignal);
  const onSignal = () => {
    stop.abort();
    // Not at once: the spinner's own handler, called next, would see itself alone and end the process at the first.
    setImmediate(ignore);
  };
  process.on('SIGINT', onSignal).on('SIGTERM', onSignal);
  try {
    return await work(stop.signal);
  } catch (error) {
    if (!stop.signal.aborted) throw error;
    throw new CrayonError('interrupted', 'stopped by a signal', { cause: error });
  } finally {
    ignore();
  }
}
