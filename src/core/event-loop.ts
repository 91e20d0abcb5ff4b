/** Long computations share the process with its timers and signals. */

/**
 * Lets what waits have its turn: Ctrl-C, a progress display. Promises alone do not: the wasm and cpu back ends answer at
 * once, so a loop of awaits on them never gets as far as the next signal.
 */
export { setImmediate as eventLoopTurn } from 'node:timers/promises';
