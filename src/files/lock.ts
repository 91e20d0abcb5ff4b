/** A directory that one process at a time may work in: a file in it holds that process's number. */

import { join } from 'node:path';
import { CrayonError } from '../core/errors.js';
import { isAlive, writeFileAtomic } from './atomic.js';
import { readText } from './io.js';
import { exists, removePath } from './paths.js';

/** The lock's file: a directory that has it alone is empty to its owner. */
export const LOCK_FILE = 'process';

/**
 * @param what what is being worked on, for the message: `output`, `run`
 * @throws CrayonError `output-exists` while another process holds the lock; one that was killed holds none
 */
export function refuseLocked(dir: string, what: string): void {
  const file = join(dir, LOCK_FILE);
  const pid = exists(file) ? Number.parseInt(readText(file), 10) : Number.NaN;
  if (!(pid > 0) || !isAlive(pid)) return;
  throw new CrayonError('output-exists', `${dir}: process ${pid} is at work on the same ${what}`, {
    hint: `Wait for it, or choose another output. If process ${pid} is another program, delete ${file}.`,
  });
}

/** Takes the lock of an existing directory, after `refuseLocked`. */
export function lock(dir: string): void {
  writeFileAtomic(join(dir, LOCK_FILE), `${process.pid}\n`);
}

export function unlock(dir: string): void {
  removePath(join(dir, LOCK_FILE));
}
