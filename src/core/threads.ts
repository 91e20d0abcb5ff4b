/** How many threads this process computes with. */

import { availableParallelism } from 'node:os';

/** By which a process is told. */
export const THREADS_VARIABLE = 'CRAYON_THREADS';

/** Likewise PyTorch's processes, and TensorFlow. */
export const threadVariables = (threads: number): Record<string, string> =>
  Object.fromEntries(
    [THREADS_VARIABLE, 'OMP_NUM_THREADS', 'TF_NUM_INTRAOP_THREADS'].map((name) => [name, String(threads)]),
  );

/** As many as are available, or as the variable says. */
export function threadShare(env: NodeJS.ProcessEnv = process.env): number {
  const given = Number(env[THREADS_VARIABLE]);
  return Number.isSafeInteger(given) && given >= 1 ? given : availableParallelism();
}
