/** Ctrl-C and SIGTERM as an AbortSignal; of a worker also the end of whoever started it. */

import { CrayonError } from '../core/errors.js';
import { ATTACHED_VARIABLE } from '../jobs/engine.js';

/**
 * For work that keeps what it has reached. A second Ctrl-C ends the process at once. The caller releases it when the work is
 * over.
 */
export function stopSignal(): { signal: AbortSignal; release: () => void } {
  const stop = new AbortController();
  const detach = process.env[ATTACHED_VARIABLE] === '1' ? whenInputEnds(() => stop.abort()) : () => {};
  const release = () => {
    detach();
    process.off('SIGINT', onSignal).off('SIGTERM', onSignal);
  };
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

/** Standard input is a pipe from the coordinator, which says nothing by it but that it is there. @returns lets go of it */
function whenInputEnds(then: () => void): () => void {
  const { stdin } = process;
  stdin.once('end', then).once('error', then).resume();
  stdin.unref(); // the work keeps the process, not the pipe
  return () => stdin.off('end', then).off('error', then).pause();
}
