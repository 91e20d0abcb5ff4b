/**
 * The worker thread of blend-worker.ts: what would hold up the event loop, and with it running answers. It blends, and it tokenises the
 * examples that choose.
 */

import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import type { CombineKind } from '../../blend/blend.js';
import type { ScoredInPool } from '../../choose/evidence.js';
import { CrayonError, type ErrorCode } from '../../core/errors.js';
import { threadScript } from '../../core/long-work.js';
import type { Example } from '../../data/dataset.js';
import { throwIfAborted } from '../../engine/clock.js';
import type { AdapterScale } from '../../engine/types.js';

/** What all jobs of a thread have in common. */
export interface BlendPlace {
  pool: string;
  /** Hugging Face directory or GGUF file. */
  base: string;
  /** Where the GGUF LoRAs are put, each under its digest. */
  dir: string;
}

export interface BlendJob {
  /** of the pool's base LoRAs (N) */
  coefficients: number[];
  combine: CombineKind;
}

export interface Blended extends Pick<AdapterScale, 'id' | 'path'> {
  notices: string[];
  ms: number;
}

/** Examples that are to be scored: their tokens, as `crayon score` makes them, and as adapters are trained where a pool has losses. */
export interface EncodeJob {
  examples: readonly Example[];
  /** of prompt and answer together */
  contextTokens: number;
}

export interface Encoded extends Pick<ScoredInPool, 'prepared'> {
  made: Omit<ScoredInPool['made'], 'examples'>;
}

export type Reply = Blended | Encoded | { code: ErrorCode | null; message: string };

/** The worker thread: started with the first job, anew after it has failed. */
export function blendThread(workerData: BlendPlace) {
  let worker: Worker | null = null;
  let last: Promise<unknown> = Promise.resolve();

  const start = (): Worker => {
    const [script, options] = threadScript(import.meta.url, 'blend-worker');
    const started = new Worker(script, { ...options, workerData });
    started.unref();
    return started;
  };

  const send = async (job: BlendJob | EncodeJob): Promise<Blended | Encoded> => {
    worker ??= start();
    const thread = worker;
    const listening = new AbortController();
    // Rejects with what an `error` event brings.
    const next = (event: 'message' | 'exit') => once(thread, event, { signal: listening.signal });
    thread.ref();
    thread.postMessage(job);
    const exit = next('exit').then(([code]) => Promise.reject(code));
    const reply = await Promise.race([next('message'), exit])
      .then(([reply]): Reply => reply)
      .catch((cause: unknown) => {
        worker = null; // the next job gets a new one
        throw new Error('the blend’s thread ended', { cause });
      })
      .finally(() => {
        listening.abort();
        thread.unref();
      });
    if (!('code' in reply)) return reply;
    throw reply.code === null ? new Error(reply.message) : new CrayonError(reply.code, reply.message);
  };

  const inTurn = <T extends Blended | Encoded>(job: BlendJob | EncodeJob, signal: AbortSignal): Promise<T> => {
    const result = last.then(() => {
      throwIfAborted(signal);
      return send(job) as Promise<T>;
    });
    last = result.catch(() => {});
    return result;
  };

  return {
    /** Jobs are done one after the other. @throws CrayonError what the blend throws */
    run: (job: BlendJob, signal: AbortSignal): Promise<Blended> => inTurn(job, signal),
    /** @throws CrayonError `example-too-long`, `example-invalid`, `tokenizer-unsupported` */
    encode: (job: EncodeJob, signal: AbortSignal): Promise<Encoded> => inTurn(job, signal),
    close: (): void => {
      void worker?.terminate();
      worker = null;
    },
  };
}
