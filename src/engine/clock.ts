/** Time as the engines see it: the system's, or one that a test moves by hand. */

import { CrayonError } from '../core/errors.js';

export interface Clock {
  /** milliseconds since the epoch */
  now(): number;
  /** Calls back once after `ms` milliseconds. @returns a function that cancels it */
  timer(ms: number, callback: () => void): () => void;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  timer: (ms, callback) => {
    // Node fires at once, with a warning, where a delay does not fit 31 bits.
    const timer = setTimeout(callback, Math.min(ms, 2 ** 31 - 1));
    return () => clearTimeout(timer);
  },
};

/** The system's time in fractions of a millisecond: for what measures answers. */
export const preciseClock: Clock = { ...systemClock, now: () => performance.timeOrigin + performance.now() };

/** What a generation throws whose signal has fired. */
export function interrupted(): CrayonError {
  return new CrayonError('interrupted', 'the request was cancelled');
}

/** @throws CrayonError `interrupted` when the signal has fired */
export function throwIfAborted(signal: AbortSignal): void {
  if (signal.aborted) throw interrupted();
}

/**
 * Waits.
 *
 * @throws CrayonError `interrupted` as soon as the signal fires
 */
export function sleep(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  let cancel = (): void => {};
  const waited = new Promise<void>((resolve) => {
    cancel = clock.timer(ms, resolve);
  });
  return untilAborted(waited, signal).finally(() => cancel());
}

/**
 * The promise's result, unless the signal fires first.
 *
 * @throws CrayonError `interrupted`, or `reason()` where one is given
 */
export function untilAborted<T>(
  promise: Promise<T>,
  signal: AbortSignal,
  reason: () => unknown = interrupted,
): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const onAbort = (): void => reject(reason());
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}
