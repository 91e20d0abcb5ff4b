/**
 * The thread behind combine-threads.ts: receives one module's factors, answers with what they combine to.
 */
import { type MessagePort, workerData } from 'node:worker_threads';
import { type CombineJob, type CombineReply, combineModule } from './combine-threads.js';

const { port, signal, ready } = workerData as { port: MessagePort; signal: Int32Array; ready: Int32Array };

port.on('message', (job: CombineJob) => {
  const { index } = job;
  let reply: CombineReply;
  try {
    reply = { index, result: combineModule(job) };
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
