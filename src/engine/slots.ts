/** A bounded number of things at a time, a bounded number waiting, first come first served. */

import { CrayonError } from '../core/errors.js';
import { interrupted, throwIfAborted } from './clock.js';

/**
 * Clients go away: a waiter whose signal fires leaves the queue at once and makes room.
 *
 * @param name whose queue it is, for the error's message
 * @param capacity slots at a time
 * @param queue requests that may wait for one
 */
export function createSlots(name: string, capacity: number, queue: number) {
  const waiting: Array<() => void> = [];
  const onIdle: Array<() => void> = [];
  let running = 0;

  const wait = (signal: AbortSignal): Promise<void> => {
    return new Promise((resolve, reject) => {
      const onAbort = (): void => {
        waiting.splice(waiting.indexOf(grant), 1);
        reject(interrupted());
      };
      const grant = (): void => {
        signal.removeEventListener('abort', onAbort);
        resolve();
      };
      signal.addEventListener('abort', onAbort, { once: true });
      waiting.push(grant);
    });
  };

  /** The slot goes straight to the first in the queue, so that none overtakes. */
  const giveBack = (): void => {
    const next = waiting.shift();
    if (next !== undefined) next();
    else if (--running === 0) for (const resolve of onIdle.splice(0)) resolve();
  };

  return {
    load: () => ({ running, waiting: waiting.length, capacity, queue }),
    /**
     * Takes a slot, waiting for one where none is free.
     *
     * @returns the function that gives it back; calling it twice does no harm
     * @throws CrayonError `engine-busy` when the queue is full, `interrupted` when the signal fires
     */
    take: async (signal: AbortSignal): Promise<() => void> => {
      throwIfAborted(signal);
      if (running < capacity) running++;
      else if (waiting.length < queue) await wait(signal);
      else {
        const counts = `${running} requests are running and ${waiting.length} are waiting`;
        throw new CrayonError('engine-busy', `${name}: ${counts}, no more are taken`, {
          hint: 'Try again in a moment, or allow a longer queue.',
        });
      }
      let isHeld = true;
      return () => {
        if (isHeld) giveBack();
        isHeld = false;
      };
    },
    /** Resolves when no slot is taken any more. */
    idle: (): Promise<void> => {
      return new Promise((resolve) => {
        if (running === 0) resolve();
        else onIdle.push(resolve);
      });
    },
  };
}
