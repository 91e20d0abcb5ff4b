/** The thread between one that waits (bounded.ts, `runSync`) and the processes that run strangers' code. */

import { type MessagePort, workerData } from 'node:worker_threads';
import { Lane } from './lane.js';
import type { Job } from './protocol.js';

export interface BridgeCall {
  job: Job;
  name: string;
  args: unknown;
  timeMs: number;
}

const { port, signal } = workerData as { port: MessagePort; signal: Int32Array };
const lane = new Lane();

port.on('message', async ({ job, name, args, timeMs }: BridgeCall) => {
  port.postMessage(await lane.run(job, name, args, timeMs));
  Atomics.add(signal, 0, 1);
  Atomics.notify(signal, 0);
});
