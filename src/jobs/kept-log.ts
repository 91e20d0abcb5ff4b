/** What jobs have said is kept in the shared directory, also by engines that have it elsewhere. */

import { dirname } from 'node:path';
import { LIMITS } from '../core/limits.js';
import { ensureDirectory } from '../files/atomic.js';
import { appendText, exists, tailOf } from '../files/io.js';
import { type Job, logPath, type Work } from './engine.js';

/** The end of it; nothing where there is none. */
export function keptLog(work: Work, job: Job): string {
  const path = logPath(work, job);
  return exists(path) ? tailOf(path, LIMITS.noteBytes) : '';
}

/**
 * Adds to it what a job has said that has come to its end. Nothing, where a pool is finished and its work directory gone.
 *
 * @param said fails where the engine no longer knows, which is no reason to fail for
 */
export async function keepLog(work: Work, job: Job, said: () => Promise<string>): Promise<void> {
  const text = await said().catch(() => '');
  if (text === '' || !exists(work.dir)) return;
  const path = logPath(work, job);
  ensureDirectory(dirname(path));
  appendText(path, text.endsWith('\n') ? text : `${text}\n`);
}
