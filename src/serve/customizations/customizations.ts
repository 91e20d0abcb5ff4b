/**
 * Customisations made while the server runs: each a blend of the pool's adapters, kept in memory with its file in a
 * temporary directory, gone when the server ends.
 *
 * A user's examples are embedded here, and blended on a thread of its own, because blending reads and writes many megabytes
 * without a pause and answers must flow on.
 */

import { randomBytes } from 'node:crypto';
import { Worker } from 'node:worker_threads';
import type { CombineKind } from '../../blend/blend.js';
import { type BlendEstimate, estimateBlend } from '../../blend/coefficients.js';
import { CrayonError, type ErrorCode } from '../../core/errors.js';
import { threadScript } from '../../core/long-work.js';
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
  ms: number;
  /** Keeps the adapter's file until the function that it returns is called, or longer. */
  hold(): () => void;
  /** The file goes, as soon as nobody holds it. */
  remove(): void;
}

export interface BlendOrder {
  examples: Array<{ prompt: string; completion?: string | undefined }> | null;
  coefficients: number[] | null;
  topK: number | null;
  temperature: number | null;
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

export class Customizations {
  readonly #maker: BlendMaker;
  readonly #limit: number;
  readonly #now: () => number;
  readonly #kept = new Map<string, Customization>();
  #making = 0;

  constructor(maker: BlendMaker, limit: number, now: () => number = Date.now) {
    this.#maker = maker;
    this.#limit = limit;
    this.#now = now;
  }

  get size(): number {
    return this.#kept.size;
  }

  list(): Customization[] {
    return [...this.#kept.values()];
  }

  get(id: string): Customization | undefined {
    return this.#kept.get(id);
  }

  /** @throws HttpError 429 when as many are kept as may be; what the blend throws */
  async create(order: BlendOrder, name: string | null, signal: AbortSignal): Promise<Customization> {
    if (this.#kept.size + this.#making >= this.#limit) {
      throw new HttpError(429, `${this.#limit} customisations are kept, which is the limit: delete one first.`, {
        type: 'rate_limit_error',
        code: 'customizations_full',
        headers: { 'x-should-retry': 'false' },
      });
    }
    this.#making++;
    try {
      const blend = await this.#maker.make(order, signal);
      if (signal.aborted) {
        blend.remove(); // nobody is left who would learn its id
        throw new CrayonError('interrupted', 'the request was cancelled');
      }
      const id = randomBytes(8).toString('hex');
      const made: Customization = { id, name, created: Math.floor(this.#now() / 1000), ...blend };
      this.#kept.set(id, made);
      return made;
    } finally {
      this.#making--;
    }
  }

  /** No new request can use it; running ones finish. @returns false where there is none */
  delete(id: string): boolean {
    this.#kept.get(id)?.remove();
    return this.#kept.delete(id);
  }

  close(): void {
    for (const { remove } of this.#kept.values()) remove();
    this.#kept.clear();
    this.#maker.close();
  }
}

/** @param base the base model: Hugging Face directory or GGUF */
export function createBlendMaker(pool: Pool, embedder: TextEmbedder, base: string): BlendMaker {
  const files = new SharedFiles();
  const thread = new BlendThread({ pool: pool.dir, base, dir: files.dir });
  const { N } = pool.manifest;

  return {
    async make({ examples, coefficients, topK, temperature, combine }, signal) {
      if (topK !== null && topK > N) {
        throw badField('top_k', `top_k is ${topK}, expected at most ${N}: the pool has no more adapters.`);
      }
      const rows = examples === null ? null : embedPrompts(examples, embedder);
      const estimate = estimateBlend(pool, rows === null ? 'given' : 'similarity', rows, {
        tau: temperature ?? undefined,
        topK: topK ?? undefined,
        coefficients: coefficients ?? undefined,
      });
      const done = files.working();
      try {
        const { id, path, ms } = await thread.run({ coefficients: estimate.coefficients, combine }, signal);
        return {
          ...estimate,
          adapter: { id, path, scale: 1 },
          scope: rows === null ? null : scopeOf(rows, embedder),
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
class SharedFiles {
  readonly #scratch = new ScratchDirectory();
  readonly #holders = new Map<string, number>();
  #workers = 0;

  get dir(): string {
    return this.#scratch.path;
  }

  working(): () => void {
    this.#workers++;
    return () => {
      this.#workers--;
      this.#sweep();
    };
  }

  hold(path: string): () => void {
    this.#holders.set(path, (this.#holders.get(path) ?? 0) + 1);
    let isHeld = true;
    return () => {
      if (!isHeld) return;
      isHeld = false;
      this.#holders.set(path, this.#holders.get(path)! - 1);
      this.#sweep();
    };
  }

  close(): void {
    this.#scratch.remove();
  }

  #sweep(): void {
    if (this.#workers > 0) return;
    for (const [path, count] of this.#holders) {
      if (count > 0) continue;
      this.#holders.delete(path);
      this.#scratch.discard(path);
    }
  }
}

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

interface Blended {
  id: string;
  path: string;
  ms: number;
}

export type BlendReply = Blended | { code: ErrorCode | null; message: string };

export class BlendThread {
  readonly #place: BlendPlace;
  #worker: Worker | null = null;
  #last: Promise<unknown> = Promise.resolve();

  constructor(place: BlendPlace) {
    this.#place = place;
  }

  /** Jobs are done one after the other. @throws CrayonError what the blend throws */
  run(job: BlendJob, signal: AbortSignal): Promise<Blended> {
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

  #send(job: BlendJob): Promise<Blended> {
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
