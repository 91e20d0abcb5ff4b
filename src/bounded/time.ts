/**
 * Work that a file of a stranger may make endless, such as a regular expression, stopped when its time is over. V8 interrupts loops
 * and its regular expression engine alike, and nothing else in the language does; the watchdog costs some 30 µs a call.
 *
 * What is limited is time of a processor. The watchdog knows the wall's clock alone, and what it has stopped cannot be gone on with: work
 * that had hardly a processor, on a machine with more to do than processors, is begun again with twice as long, up to `wallMs` in all.
 *
 * Memory is not bounded here: what may build values of any size runs in a process of its own (bounded.ts).
 */

import vm from 'node:vm';
import { LIMITS } from '../core/limits.js';

/** The work was stopped. */
export class OutOfTime extends Error {
  constructor(readonly timeMs: number) {
    super(`it was stopped after ${seconds(timeMs)}`);
  }
}

/** @example seconds(1500) // '1.5 s' */
export function seconds(ms: number): string {
  return `${Number((ms / 1000).toPrecision(2))} s`;
}

const RUN = new vm.Script('globalThis[Symbol.for("crayon.bounded")]()');
const WORK = Symbol.for('crayon.bounded');
const scope = globalThis as { [WORK]?: (() => unknown) | undefined };
let isBounded = false;

/** The longest that work of a limit takes by the wall's clock, on a machine that gives it hardly a processor: all attempts together. */
export const wallMs = (timeMs: number): number => timeMs * (2 * LIMITS.codeStarved - 1);

/** What this thread has had of a processor, in ms; where Node does not say, this process. */
function processorMs(): number {
  const { threadCpuUsage } = process as { threadCpuUsage?: () => NodeJS.CpuUsage }; // of Node 22.19, and of 24
  const { user, system } = threadCpuUsage?.call(process) ?? process.cpuUsage();
  return (user + system) / 1000;
}

/**
 * The work's result. Work within bounded work is under the outer one's limit, so that many small calls cost one watchdog.
 *
 * @param timeMs of a processor
 * @param work ends without its `finally` blocks where it is stopped: what it changes may be half done. It may be begun again
 * @throws OutOfTime
 */
export function withinTime<T>(timeMs: number, work: () => T): T {
  if (isBounded) return work();
  isBounded = true;
  scope[WORK] = work;
  try {
    for (let times = 1; ; times *= 2) {
      const before = processorMs();
      try {
        return RUN.runInThisContext({ timeout: Math.ceil(timeMs * times) }) as T;
      } catch (error) {
        if ((error as NodeJS.ErrnoException)?.code !== 'ERR_SCRIPT_EXECUTION_TIMEOUT') throw error;
        const isStarved = processorMs() - before < timeMs / 2;
        if (!isStarved || times >= LIMITS.codeStarved) throw new OutOfTime(timeMs);
      }
    }
  } finally {
    isBounded = false;
    scope[WORK] = undefined;
  }
}
