/** A thread behind crew.ts: waits for a job, takes items of it, and says when it has left. */

import { workerData } from 'node:worker_threads';
import { instantiate, JOB, takeItems } from './crew.js';
import type { SharedMemory } from './wasm.js';

interface Given {
  job: Int32Array;
  memories: SharedMemory[];
  module: object;
}

const { job, memories, module } = workerData as Given;
const kernels = memories.map((memory) => instantiate(memory, module));
for (let seen = 0; ; ) {
  Atomics.wait(job, JOB.number, seen);
  seen = Atomics.load(job, JOB.number);
  Atomics.add(job, JOB.inside, 1);
  try {
    if (Atomics.load(job, JOB.open) === 1) takeItems(job, kernels);
  } catch {
    Atomics.store(job, JOB.failed, 1);
  }
  Atomics.sub(job, JOB.inside, 1);
  Atomics.notify(job, JOB.inside);
}
