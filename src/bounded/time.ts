/**
 * Work that a file of a stranger may make endless, such as a regular expression, stopped when its time is over. V8 interrupts loops
 * and its regular expression engine alike, and nothing else in the language does; the watchdog costs some 30 µs a call.
 *
 * Memory is not bounded here: what may build values of any size runs in a process of its own (bounded.ts).
 */

import vm from 'node:vm';

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

/**
 * The work's result. Work within bounded work is under the outer one's limit, so that many small calls cost one watchdog.
 *
 * @param work ends without its `finally` blocks where it is stopped: what it changes may be half done
 * @throws OutOfTime
 */
export function withinTime<T>(timeMs: number, work: () => T): T {
  if (isBounded) return work();
  isBounded = true;
  scope[WORK] = work;
  try {
    return RUN.runInThisContext({ timeout: Math.ceil(timeMs) }) as T;
  } catch (error) {
    if ((error as NodeJS.ErrnoException)?.code === 'ERR_SCRIPT_EXECUTION_TIMEOUT') throw new OutOfTime(timeMs);
    throw error;
  } finally {
    isBounded = false;
    scope[WORK] = undefined;
  }
}
