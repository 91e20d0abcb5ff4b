/** Blending reads and writes many megabytes without a pause: it has a thread of its own, so that answers flow on. */

import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { CrayonError, type ErrorCode } from '../../core/errors.js';

export interface BlendJob {
  pool: string;
  coefficients: number[];
  combine: 'cat' | 'svd' | 'linear';
  /** Hugging Face directory or GGUF file */
  base: string;
  /** where the GGUF LoRA is put, under its digest */
  dir: string;
}

export type BlendReply = { id: string; path: string; ms: number } | { code: ErrorCode | null; message: string };

export class BlendThread {
  #worker: Worker | null = null;
  #last: Promise<unknown> = Promise.resolve();

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
    const [script, evaluate] = threadScript();
    const worker = new Worker(script, { eval: evaluate, execArgv: [] });
    worker.unref();
    return worker;
  }
}

/** The compiled file beside this one; from source (tests, tsx) TypeScript, which tsx's `require` hook translates. */
function threadScript(): [script: string | URL, evaluate: boolean] {
  if (!import.meta.url.endsWith('.ts')) return [new URL('./blend-worker.js', import.meta.url), false];
  const loader = createRequire(import.meta.url).resolve('tsx/cjs');
  const source = fileURLToPath(new URL('./blend-worker.ts', import.meta.url));
  return [`require(${JSON.stringify(loader)}); require(${JSON.stringify(source)});`, true];
}
