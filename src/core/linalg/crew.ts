/**
 * Threads that share the items of a kernel's work over shared memory, with the calling thread among them.
 *
 * A job lies in shared memory and is announced by a counter; every thread takes the next few items until none are left. The calling
 * thread takes them too, so threads that start slowly, or get no core, cost nothing but their help. Which thread computes an
 * item does not change it: kernels write each item to a place of its own.
 */

import assert from 'node:assert/strict';
import { Worker } from 'node:worker_threads';
import { threadScript } from '../long-work.js';
import { ROW_KERNELS, type RowKernel, rowKernels } from './row-kernels.js';
import { Instance, type SharedMemory } from './wasm.js';

/** Places in the shared job, an Int32Array. */
export const JOB = {
  /** raised for every job; what waiting threads wait for */
  number: 0,
  /** 1 while the job may be worked on */
  open: 1,
  /** threads at work, beside the calling one */
  inside: 2,
  /** the first item that nobody has taken */
  next: 3,
  items: 4,
  /** items that are taken at a time */
  share: 5,
  memory: 6,
  kernel: 7,
  /** 1 once a thread has failed */
  failed: 8,
  arguments: 9,
};
const MOST_ARGUMENTS = 8;

export type Kernels = Record<RowKernel, (from: number, to: number, ...rest: number[]) => void>;

export const instantiate = (memory: SharedMemory, module = rowKernels()): Kernels =>
  new Instance(module, { env: { memory } }).exports as Kernels;

/** Takes items of the open job until none are left. */
export function takeItems(job: Int32Array, kernels: readonly Kernels[]): void {
  const items = job[JOB.items]!;
  const share = job[JOB.share]!;
  const work = kernels[job[JOB.memory]!]![ROW_KERNELS[job[JOB.kernel]!]!];
  const rest = job.subarray(JOB.arguments, JOB.arguments + MOST_ARGUMENTS);
  for (;;) {
    const from = Atomics.add(job, JOB.next, share);
    if (from >= items) return;
    work(from, Math.min(from + share, items), ...rest);
  }
}

/** A job that takes no longer than this is not worth waking anyone for: about 0.1 ms. */
const SMALL_WORK = 1_000_000;
/** A share takes a fraction of a second: a thread that is silent for so long is dead. */
const PATIENCE_MS = 60_000;

export class Crew {
  readonly #job = new Int32Array(new SharedArrayBuffer(4 * (JOB.arguments + MOST_ARGUMENTS)));
  readonly #kernels: Kernels[];
  readonly #threads: Worker[] = [];

  /** @param threads how many compute, the calling one included */
  constructor(memories: readonly SharedMemory[], threads: number) {
    this.#kernels = memories.map((memory) => instantiate(memory));
    for (let i = 1; i < threads; i++) {
      const [script, options] = threadScript(import.meta.url, 'crew-worker');
      const worker = new Worker(script, { ...options, workerData: { job: this.#job, memories, module: rowKernels() } });
      worker.on('error', () => {}); // it takes no more items; if it was at work, `failed` says so
      worker.unref();
      this.#threads.push(worker);
    }
  }

  /**
   * Runs a kernel over `items` items.
   *
   * @param memory which of the memories it works on
   * @param cost multiplications of an item, about
   * @param multiple shares are multiples of this
   */
  run(memory: number, kernel: RowKernel, { items, cost, multiple }: Work, rest: readonly number[]): void {
    if (this.#threads.length === 0 || items * cost < SMALL_WORK) {
      if (items > 0) this.#kernels[memory]![kernel](0, items, ...rest);
      return;
    }
    const job = this.#job;
    const share = Math.max(1, Math.ceil(Math.min(SMALL_WORK / cost, items / 4) / multiple)) * multiple;
    job[JOB.items] = items;
    job[JOB.share] = share;
    job[JOB.memory] = memory;
    job[JOB.kernel] = ROW_KERNELS.indexOf(kernel);
    job.set(rest, JOB.arguments);
    job[JOB.next] = 0;
    Atomics.store(job, JOB.open, 1);
    Atomics.add(job, JOB.number, 1);
    Atomics.notify(job, JOB.number);
    try {
      takeItems(job, this.#kernels);
    } finally {
      // Who comes in later finds the job closed, and touches nothing; who is inside is waited for.
      Atomics.store(job, JOB.open, 0);
      for (let inside = Atomics.load(job, JOB.inside); inside > 0; inside = Atomics.load(job, JOB.inside)) {
        const outcome = Atomics.wait(job, JOB.inside, inside, PATIENCE_MS);
        assert.notEqual(outcome, 'timed-out', 'a thread does not come back from its items');
      }
    }
    assert.equal(job[JOB.failed], 0, 'a kernel failed on a thread');
  }

  dispose(): void {
    for (const thread of this.#threads.splice(0)) void thread.terminate();
  }
}

export interface Work {
  items: number;
  cost: number;
  multiple: number;
}
