/** Work on a thread of its own, one job after the other, so that it does not hold up the event loop and with it running answers. */

import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { CrayonError, type ErrorCode, isCrayonError, messageOf } from '../core/errors.js';
import { throwIfAborted } from './clock.js';

/** What a job's failure is on its way between threads. */
export interface Failed {
  failed: ErrorCode | null;
  message: string;
}

/** In the thread: a failure as it is sent. */
export const failedReply = (error: unknown): Failed => ({
  failed: isCrayonError(error) ? error.code : null,
  message: messageOf(error),
});

/**
 * The thread: started with the first job, anew after it has failed.
 *
 * @param script of `threadScript`
 */
export function workThread<Job, Done extends object>(
  [script, options]: [script: string | URL, options: object],
  workerData: unknown,
) {
  let worker: Worker | null = null;
  let last: Promise<unknown> = Promise.resolve();

  const start = (): Worker => {
    const started = new Worker(script, { ...options, workerData });
    started.unref();
    return started;
  };

  const send = async (job: Job): Promise<Done> => {
    worker ??= start();
    const thread = worker;
    const listening = new AbortController();
    // Rejects with what an `error` event brings.
    const next = (event: 'message' | 'exit') => once(thread, event, { signal: listening.signal });
    thread.ref();
    thread.postMessage(job);
    const exit = next('exit').then(([code]) => Promise.reject(code));
    const reply = await Promise.race([next('message'), exit])
      .then(([reply]): Done | Failed => reply)
      .catch((cause: unknown) => {
        worker = null; // the next job gets a new one
        throw new Error('a thread of its own ended', { cause });
      })
      .finally(() => {
        listening.abort();
        thread.unref();
      });
    if (!('failed' in reply)) return reply;
    throw reply.failed === null ? new Error(reply.message) : new CrayonError(reply.failed, reply.message);
  };

  return {
    /** @throws CrayonError what the job throws, `interrupted` where its turn comes after the signal */
    run: (job: Job, signal: AbortSignal): Promise<Done> => {
      const result = last.then(() => {
        throwIfAborted(signal);
        return send(job);
      });
      last = result.catch(() => {});
      return result;
    },
    close: (): void => {
      void worker?.terminate();
      worker = null;
    },
  };
}
