/** The time in which a process could go on: a machine with more to do than processors makes nothing hang. */

import { readFileSync } from 'node:fs';

/**
 * Milliseconds by the wall's clock, without those in which the process's main thread was ready and waited for a processor: Linux
 * counts them. Elsewhere it is the wall's clock alone.
 */
export function clockOf(pid: number | 'self'): () => number {
  const path = `/proc/${pid}/schedstat`;
  return () => performance.now() - waitedMs(path);
}

function waitedMs(path: string): number {
  try {
    return Number(readFileSync(path, 'utf8').split(' ')[1]) / 1e6;
  } catch {
    return 0; // another system, or the process has ended
  }
}
