/**
 * The thread behind svd-threads.ts: receives one module's factors, answers with its best approximation.
 */
import { type MessagePort, workerData } from 'node:worker_threads';
import { combineSvd } from '../lora/combine.js';
import type { SvdJob, SvdReply } from './svd-threads.js';

const { port, signal, ready } = workerData as { port: MessagePort; signal: Int32Array; ready: Int32Array };

port.on('message', ({ index, factors, coefficients, shape, rank }: SvdJob) => {
  let reply: SvdReply;
  try {
    reply = { index, result: combineSvd(factors, coefficients, shape, rank) };
  } catch (error) {
    reply = { index, error: error instanceof Error ? (error.stack ?? error.message) : String(error) };
  }
  port.postMessage(
    reply,
    reply.result === undefined ? [] : ([reply.result.a.buffer, reply.result.b.buffer] as ArrayBuffer[]),
  );
  Atomics.add(signal, 0, 1);
  Atomics.notify(signal, 0);
});
Atomics.store(ready, 0, 1);
