/** Blending reads and writes many megabytes without a pause: it has a thread of its own, so that answers flow on. */

import { Worker } from 'node:worker_threads';
import type { CombineKind } from '../../blend/blend.js';
import { CrayonError, type ErrorCode } from '../../core/errors.js';
import { threadScript } from '../../core/long-work.js';

/** What all jobs of a thread have in common. */
export interface BlendPlace {
  pool: string;
  /** Hugging Face directory or GGUF file. */
  base: string;
  /** Where the GGUF LoRAs are put, each under its digest. */
  dir: string;
}

export interface BlendJob {
  coefficients: number[];
  combine: CombineKind;
}

export type BlendReply = { id: string; path: string; ms: number } | { code: ErrorCode | null; message: string };

export class BlendThread {
  readonly #place: BlendPlace;
  #worker: Worker | null = null;
  #last: Promise<unknown> = Promise.resolve();

  constructor(place: BlendPlace) {
    this.#place = place;
  }

  /** Jobs are done one after the other. @throws CrayonError what the blend throws */
  run(job: BlendJob, signal: AbortSignal): Promise<{ id: string; path: string; ms: number }> {
    const result = this.#last.then(() => {
      if (signal.aborted) throw new CrayonError('interrupted', 'the request was cancelled');
      return this.#send(job);
    });
    this.#last = result.catch(() => {});
    return result;
  }

  close(): void {
    void this.#worker?.terminate();
    this.#worker = null;
  }

  #send(job: BlendJob): Promise<{ id: string; path: string; ms: number }> {
    this.#worker ??= this.#start();
    const worker = this.#worker;
    return new Promise((resolve, reject) => {
      const settle = (then: () => void) => {
        worker.off('message', onMessage);
        worker.off('error', onFailure);
        worker.off('exit', onFailure);
        worker.unref();
        then();
      };
      const onMessage = (reply: BlendReply) =>
        settle(() => {
          if ('path' in reply) resolve(reply);
          else reject(reply.code === null ? new Error(reply.message) : new CrayonError(reply.code, reply.message));
        });
      const onFailure = (cause: unknown) =>
        settle(() => {
          this.#worker = null; // the next job gets a new one
          reject(new Error('the blend’s thread ended', { cause }));
        });
      worker.on('message', onMessage);
      worker.on('error', onFailure);
      worker.on('exit', onFailure);
      worker.ref();
      worker.postMessage(job);
    });
  }

  #start(): Worker {
    const [script, options] = threadScript(import.meta.url, 'blend-worker');
    const worker = new Worker(script, { ...options, workerData: this.#place });
    worker.unref();
    return worker;
  }
}
