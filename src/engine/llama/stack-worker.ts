/** The thread behind stacks.ts: a stack of LoRAs and its mixtures, as files. */

import { parentPort, workerData } from 'node:worker_threads';
import { isCrayonError } from '../../core/errors.js';
import { exists, touchQuietly } from '../../files/io.js';
import { weighLoraStack, writeLoraStack } from '../../gguf/lora-stack.js';
import { failedReply } from '../thread.js';
import type { StackJob, StackPlace } from './stacks.js';

const port = parentPort!;
const { plan, type, path } = workerData as StackPlace;

port.on('message', ({ weights, out }: StackJob) => {
  try {
    if (exists(path)) touchQuietly(path);
    else writeLoraStack(plan, type, path);
    try {
      weighLoraStack(plan, type, path, weights, out);
    } catch (error) {
      if (!isCrayonError(error, 'gguf-invalid')) throw error;
      writeLoraStack(plan, type, path); // damaged in the cache
      weighLoraStack(plan, type, path, weights, out);
    }
    port.postMessage({});
  } catch (error) {
    port.postMessage(failedReply(error));
  }
});
