/**
 * Customisations made while the server runs: each a blend of the pool's adapters, kept in memory with its file in a
 * temporary directory, gone when the server ends.
 *
 * A user's examples are embedded here, and blended on a thread of its own, because blending reads and writes many megabytes
 * without a pause and answers must flow on.
 */

import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import type { CombineKind } from '../../blend/blend.js';
import { type BlendEstimate, type Estimator, estimateBlend } from '../../blend/coefficients.js';
import { CrayonError, type ErrorCode } from '../../core/errors.js';
import { threadScript } from '../../core/long-work.js';
import type { RawExample } from '../../data/example.js';
import { interrupted, throwIfAborted } from '../../engine/clock.js';
import type { AdapterScale } from '../../engine/types.js';
import { ScratchDirectory } from '../../files/scratch-directory.js';
import type { Pool } from '../../pool/pool.js';
import type { ScopeFunction } from '../../routing/signals/scope.js';
import { embedPrompts, scopeOf, type TextEmbedder } from '../base-model.js';
import { badField, HttpError } from '../http/error.js';

/** An adapter that was blended. */
export interface MadeBlend extends BlendEstimate {
  adapter: AdapterScale;
  scope: ScopeFunction | null;
  /** Plain sentences that the user should read. */
  notices: string[];
  ms: number;
  /** Keeps the adapter's file until the function that it returns is called, or longer. */
  hold(): () => void;
  /** The file goes, as soon as nobody holds it. */
  remove(): void;
}

export interface BlendOrder {
  examples: ReadonlyArray<Pick<RawExample, 'prompt' | 'messages'>> | null;
  coefficients: number[] | null;
  topK: number | null;
  temperature: number | null;
  /** how the examples become coefficients */
  estimator: Extract<Estimator, 'similarity' | 'mean-gate'>;
  /** similarities are measured by those of the pool's own examples */
  standardise?: boolean;
  combine: CombineKind;
}

/** Makes an adapter from a pool, away from the event loop. */
export interface BlendMaker {
  make(order: BlendOrder, signal: AbortSignal): Promise<MadeBlend>;
  close(): void;
}

export interface Customization extends MadeBlend {
  id: string;
  name: string | null;
  /** Seconds since 1970. */
  created: number;
}

export type Customizations = ReturnType<typeof createCustomizations>;

export function createCustomizations(maker: BlendMaker, limit: number, now: () => number = Date.now) {
  const kept = new Map<string, Customization>();
  let making = 0;
  return {
    size: () => kept.size,
    list: () => [...kept.values()],
    get: (id: string) => kept.get(id),
    /** @throws HttpError 429 when as many are kept as may be; what the blend throws */
    create: async (order: BlendOrder, name: string | null, signal: AbortSignal): Promise<Customization> => {
      if (kept.size + making >= limit) {
        throw new HttpError(429, `${limit} customisations are kept, which is the limit: delete one first.`, {
          type: 'rate_limit_error',
          code: 'customizations_full',
          headers: { 'x-should-retry': 'false' },
        });
      }
      making++;
      try {
        const blend = await maker.make(order, signal);
        if (signal.aborted) {
          blend.remove(); // nobody is left who would learn its id
          throw interrupted();
        }
        const id = randomBytes(8).toString('hex');
        const made: Customization = { id, name, created: Math.floor(now() / 1000), ...blend };
        kept.set(id, made);
        return made;
      } finally {
        making--;
      }
    },
    /** No new request can use it; running ones finish. @returns false where there is none */
    delete: (id: string): boolean => {
      kept.get(id)?.remove();
      return kept.delete(id);
    },
    close: (): void => {
      for (const { remove } of kept.values()) remove();
      kept.clear();
      maker.close();
    },
  };
}

/**
 * @param base the base model: Hugging Face directory or GGUF
 * @param forget called with each adapter's file that is gone
 */
export function createBlendMaker(
  pool: Pool,
  embedder: TextEmbedder,
  base: string,
  forget: (path: string) => void = () => {},
): BlendMaker {
  const files = sharedFiles(forget);
  const thread = blendThread({ pool: pool.dir, base, dir: files.dir });
  const { N } = pool.manifest;

  return {
    async make({ examples, coefficients, topK, temperature, estimator, standardise, combine }, signal) {
      if (topK !== null && topK > N) {
        throw badField('top_k', `top_k is ${topK}, expected at most ${N}: the pool has no more adapters.`);
      }
      if (standardise === true && pool.manifest.standards?.similarity === undefined) {
        throw badField('standardise', 'standardise needs a pool that `crayon measure-pool` has measured.');
      }
      const rows = examples === null ? null : await embedPrompts(examples, embedder, signal);
      const estimate = estimateBlend(pool, rows === null ? 'given' : estimator, rows && { rows }, {
        tau: temperature ?? undefined,
        standardise,
        topK: topK ?? undefined,
        coefficients: coefficients ?? undefined,
      });
      const done = files.working();
      try {
        const { id, path, notices, ms } = await thread.run({ coefficients: estimate.coefficients, combine }, signal);
        return {
          ...estimate,
          adapter: { id, path, scale: 1 },
          scope: rows === null ? null : scopeOf(rows, embedder),
          notices,
          ms,
          hold: () => files.hold(path),
          remove: files.hold(path),
        };
      } finally {
        done();
      }
    },
    close() {
      thread.close();
      files.close();
    },
  };
}

/** Equal blends have one file, by its digest: it goes when the last of them goes, and never while one is being made. */
function sharedFiles(forget: (path: string) => void) {
  const scratch = new ScratchDirectory();
  const holders = new Map<string, number>();
  let workers = 0;

  const sweep = (): void => {
    if (workers > 0) return;
    for (const [path, count] of holders) {
      if (count > 0) continue;
      holders.delete(path);
      scratch.discard(path);
      forget(path);
    }
  };
  return {
    dir: scratch.path,
    working: (): (() => void) => {
      workers++;
      return () => {
        workers--;
        sweep();
      };
    },
    hold: (path: string): (() => void) => {
      holders.set(path, (holders.get(path) ?? 0) + 1);
      let isHeld = true;
      return () => {
        if (!isHeld) return;
        isHeld = false;
        holders.set(path, holders.get(path)! - 1);
        sweep();
      };
    },
    close: () => scratch.remove(),
  };
}

/** What all jobs of a thread have in common. */
export interface BlendPlace {
  pool: string;
  /** Hugging Face directory or GGUF file. */
  base: string;
  /** Where the GGUF LoRAs are put, each under its digest. */
  dir: string;
}

export type BlendJob = Pick<BlendEstimate, 'coefficients'> & Pick<BlendOrder, 'combine'>;

type Blended = Pick<AdapterScale, 'id' | 'path'> & Pick<MadeBlend, 'notices' | 'ms'>;

export type BlendReply = Blended | { code: ErrorCode | null; message: string };

/** The worker thread of blend-worker.ts: started with the first job, anew after it has failed. */
export function blendThread(workerData: BlendPlace) {
  let worker: Worker | null = null;
  let last: Promise<unknown> = Promise.resolve();

  const start = (): Worker => {
    const [script, options] = threadScript(import.meta.url, 'blend-worker');
    const started = new Worker(script, { ...options, workerData });
    started.unref();
    return started;
  };

  const send = async (job: BlendJob): Promise<Blended> => {
    worker ??= start();
    const thread = worker;
    const listening = new AbortController();
    // Rejects with what an `error` event brings.
    const next = (event: 'message' | 'exit') => once(thread, event, { signal: listening.signal });
    thread.ref();
    thread.postMessage(job);
    const exit = next('exit').then(([code]) => Promise.reject(code));
    const reply = await Promise.race([next('message'), exit])
      .then(([reply]): BlendReply => reply)
      .catch((cause: unknown) => {
        worker = null; // the next job gets a new one
        throw new Error('the blend’s thread ended', { cause });
      })
      .finally(() => {
        listening.abort();
        thread.unref();
      });
    if ('path' in reply) return reply;
    throw reply.code === null ? new Error(reply.message) : new CrayonError(reply.code, reply.message);
  };

  return {
    /** Jobs are done one after the other. @throws CrayonError what the blend throws */
    run: (job: BlendJob, signal: AbortSignal): Promise<Blended> => {
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
