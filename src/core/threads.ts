/** How many threads this process computes with. */

import { availableParallelism } from 'node:os';

/** By which whoever starts several processes of crayon on one machine divides its processors. */
export const THREADS_VARIABLE = 'CRAYON_THREADS';

/** As many as are available, or as the variable says. */
export function threadShare(env: NodeJS.ProcessEnv = process.env): number {
  const given = Number(env[THREADS_VARIABLE]);
  return Number.isSafeInteger(given) && given >= 1 ? given : availableParallelism();
}
