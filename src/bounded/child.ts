/**
 * The process in which code of strangers runs: chat templates, data sets' templates, and what else may take any memory. Its heap is
 * limited by how it is started (lane.ts); when it dies, only the call dies with it.
 */

import { isCrayonError, reasonOf } from '../core/errors.js';
import { LIMITS } from '../core/limits.js';
import type { CallMessage, JobModule, Jobs, Outcome, Reply } from './protocol.js';
import { sizeOf } from './size.js';
import { OutOfTime, withinTime } from './time.js';

const opened = new Map<string, Jobs>();

process.on('disconnect', () => process.exit());
// They are meant for the process that has started this one, which may still need it to finish; it ends when that one does.
process.on('SIGINT', () => {});
process.on('SIGTERM', () => {});

process.on('message', async (call: CallMessage) => {
  const reply: Reply = { id: call.id, ...(await outcomeOf(call)) };
  if (process.connected) process.send!(reply, undefined, undefined, () => {});
});

async function outcomeOf({ key, opened: given, name, args, timeMs }: CallMessage): Promise<Outcome> {
  try {
    if (given !== undefined) {
      const module = await load(given.module);
      opened.set(key, await withinTime(timeMs, () => module.open(given.setup)));
      for (const first of opened.keys()) if (opened.size > LIMITS.codeOpened) opened.delete(first);
    }
    const jobs = opened.get(key);
    if (jobs === undefined) return { kind: 'unknown' };
    const value = await withinTime(timeMs, () => jobs[name]!(args as never));
    if (sizeOf(value, LIMITS.codeAnswer) > LIMITS.codeAnswer) {
      return { kind: 'memory', ended: `it gave more than ${LIMITS.codeAnswer / 2 ** 20} million characters` };
    }
    return { kind: 'value', value };
  } catch (error) {
    if (error instanceof OutOfTime) return { kind: 'time', timeMs };
    if (!isCrayonError(error)) return { kind: 'error', message: reasonOf(error) };
    const { code, message, hint } = error;
    return { kind: 'crayon', code, message, hint };
  }
}

/** From source the loader of lane.ts translates what is required; compiled, they are modules. */
async function load(url: string): Promise<JobModule> {
  if (!url.endsWith('.ts')) return import(url);
  const [{ createRequire }, { fileURLToPath }] = await Promise.all([import('node:module'), import('node:url')]);
  return createRequire(url)(fileURLToPath(url));
}
