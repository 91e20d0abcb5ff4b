/** The thread between one that waits (bounded.ts, `runSync`) and the processes that run strangers' code. */

import { type MessagePort, workerData } from 'node:worker_threads';
import { Lane } from './lane.js';
import type { Job, Outcome } from './protocol.js';

export interface BridgeCall {
  id: number;
  job: Job;
  name: string;
  args: unknown;
  timeMs: number;
}

export interface BridgeAnswer {
  /** of its call */
  id: number;
  outcome: Outcome;
}

const { port, signal } = workerData as { port: MessagePort; signal: Int32Array };
const lane = new Lane();

port.on('message', async ({ id, job, name, args, timeMs }: BridgeCall) => {
  const outcome = await lane.run(job, name, args, timeMs);
  port.postMessage({ id, outcome } satisfies BridgeAnswer);
  Atomics.add(signal, 0, 1);
  Atomics.notify(signal, 0);
});
