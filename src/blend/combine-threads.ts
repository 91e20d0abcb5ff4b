/**
 * `svd` and `linear` of many modules on several threads, results in order, with at most a few modules in memory.
 *
 * The calling thread works too: when it needs a module that nobody has begun it computes that itself, and while it waits for
 * one it computes a later one. So a slow start of the other threads costs nothing, and one thread is the same code.
 * Every module is computed by the same function on the same numbers, so the number of threads does not change a byte.
 */
import assert from 'node:assert/strict';
import { MessageChannel, type MessagePort, receiveMessageOnPort, Worker } from 'node:worker_threads';
import { threadScript } from '../core/long-work.js';
import {
  type CombinedFactors,
  combineLinear,
  combineSvd,
  type LoraFactors,
  type ModuleShape,
  type StackTriangles,
} from '../lora/combine.js';

/** One module to combine. */
export interface CombineJob {
  index: number;
  combine: 'svd' | 'linear';
  factors: LoraFactors[];
  coefficients: number[];
  shape: ModuleShape;
  rank: number;
  triangles?: StackTriangles | undefined;
}

export function combineModule({ combine, factors, coefficients, shape, rank, triangles }: CombineJob): CombinedFactors {
  if (combine === 'svd') return combineSvd(factors, coefficients, shape, rank, triangles);
  const combined = combineLinear(factors, coefficients, shape, triangles);
  if (combined.r === rank) return combined;
  // None of the adapters has this module: zeros.
  return { ...combined, r: rank, a: new Float32Array(rank * shape.in), b: new Float32Array(shape.out * rank) };
}

export interface CombineReply {
  index: number;
  result?: CombinedFactors;
  error?: string;
}

/** Jobs a thread has at once: one in work, one waiting. */
const QUEUE = 2;

/** A thread that does not answer for so long is taken for dead: a module takes well under a second. */
const PATIENCE_MS = 300_000;

interface Thread {
  worker: Worker;
  /** Becomes 1 when the thread listens. One that never does is never given a job, and costs nothing but its help. */
  ready: Int32Array;
  port: MessagePort;
  jobs: number;
}

export class CombineThreads {
  readonly #count: number;
  readonly #load: (index: number) => CombineJob;
  readonly #threads: Thread[] = [];
  /** Counts the answers of all threads; what waiting waits for. */
  readonly #signal = new Int32Array(new SharedArrayBuffer(4));
  readonly #running = new Set<number>();
  readonly #done = new Map<number, CombinedFactors>();
  /** First module that nobody has begun. */
  #next = 0;

  /**
   * @param count number of modules
   * @param load reads one module's factors; their arrays are given away, so it must not keep them
   * @param threads how many threads compute, the calling one included
   */
  constructor(count: number, load: (index: number) => CombineJob, threads: number) {
    this.#count = count;
    this.#load = load;
    for (let i = 1; i < Math.min(threads, count); i++) this.#threads.push(this.#start());
  }

  /** Modules that other threads have computed so far. */
  get answers(): number {
    return Atomics.load(this.#signal, 0);
  }

  /** Threads that listen, the calling one included. */
  get ready(): number {
    return 1 + this.#threads.filter((thread) => Atomics.load(thread.ready, 0) === 1).length;
  }

  /** The result of module `index`; to be called for 0, 1, 2, ... in this order. */
  take(index: number): CombinedFactors {
    this.#feed();
    for (;;) {
      const seen = Atomics.load(this.#signal, 0);
      this.#collect();
      const result = this.#done.get(index);
      if (result !== undefined) {
        this.#done.delete(index);
        return result;
      }
      this.#feed();
      if (this.#next < this.#count && (this.#next === index || this.#done.size < this.#window)) this.#computeNext();
      else {
        assert.ok(this.#running.has(index), `module ${index} was taken twice or out of order`);
        const outcome = Atomics.wait(this.#signal, 0, seen, PATIENCE_MS);
        assert.notEqual(outcome, 'timed-out', 'a combining thread does not answer');
      }
    }
  }

  close(): void {
    for (const { worker, port } of this.#threads) {
      port.close();
      void worker.terminate();
    }
  }

  /** Results kept beyond the one that is wanted: what bounds the memory. */
  get #window(): number {
    return QUEUE * (this.#threads.length + 1);
  }

  #start(): Thread {
    const { port1: port, port2 } = new MessageChannel();
    const ready = new Int32Array(new SharedArrayBuffer(4));
    const [script, options] = threadScript(import.meta.url, 'combine-worker');
    const workerData = { port: port2, signal: this.#signal, ready };
    const worker = new Worker(script, { ...options, workerData, transferList: [port2] });
    worker.on('error', () => {}); // it was never ready, or its reply said why
    worker.unref();
    port.unref();
    return { worker, ready, port, jobs: 0 };
  }

  /** Gives each thread its next jobs. */
  #feed(): void {
    for (const thread of this.#threads) {
      if (Atomics.load(thread.ready, 0) === 0) continue;
      while (thread.jobs < QUEUE && this.#next < this.#count && this.#done.size < this.#window) {
        const job = this.#load(this.#next++);
        this.#running.add(job.index);
        thread.jobs++;
        const { factors, triangles } = job;
        const arrays = [triangles?.a, triangles?.b, ...factors.flatMap(({ a, b }) => [a, b])];
        const buffers = new Set(arrays.flatMap((array) => (array ? [array.buffer as ArrayBuffer] : [])));
        thread.port.postMessage(job, [...buffers]);
      }
    }
  }

  /** Takes in all answers that have arrived. */
  #collect(): void {
    for (const thread of this.#threads) {
      for (let m = receiveMessageOnPort(thread.port); m !== undefined; m = receiveMessageOnPort(thread.port)) {
        const { index, result, error } = m.message as CombineReply;
        if (result === undefined) throw new Error(`combining module ${index} failed on a thread: ${error}`);
        thread.jobs--;
        this.#running.delete(index);
        this.#done.set(index, result);
      }
    }
  }

  #computeNext(): void {
    const job = this.#load(this.#next++);
    this.#done.set(job.index, combineModule(job));
  }
}
