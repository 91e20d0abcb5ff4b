/** The programs by which a queue is spoken to, such as sbatch or kubectl. */

import { execFile } from 'node:child_process';
import { CrayonError, reasonOf } from '../core/errors.js';
import { lastLines } from '../core/format.js';
import { LIMITS } from '../core/limits.js';

export interface ProgramOptions {
  /** what its absence means, and what to do then */
  missing: [meaning: string, hint: string];
  /** for its standard input */
  input?: string | undefined;
  timeoutMs?: number | undefined;
}

const TAIL_LINES = 10;

/**
 * @returns what it has written
 * @throws CrayonError `jobs-unavailable` where there is no such program, `jobs-failed` with its words
 */
export function runProgram(program: string, args: readonly string[], options: ProgramOptions): Promise<string> {
  const { missing, input, timeoutMs = LIMITS.jobsCommandMs } = options;
  return new Promise((resolve, reject) => {
    const limits = { timeout: timeoutMs, maxBuffer: LIMITS.jobsAnswerBytes };
    const child = execFile(program, args, limits, (error, stdout, stderr) => {
      if (error === null) return resolve(stdout);
      if ('code' in error && error.code === 'ENOENT') {
        const [meaning, hint] = missing;
        return reject(new CrayonError('jobs-unavailable', `${program}: no such program, ${meaning}`, { hint }));
      }
      const [words, ...said] = error.killed ? [`ended after ${timeoutMs / 1000} s`] : lastLines(stderr, TAIL_LINES);
      reject(new CrayonError('jobs-failed', `${program}: ${words ?? reasonOf(error)}`, { said, cause: error }));
    });
    child.stdin?.on('error', () => {}); // it ended before it had read all
    child.stdin?.end(input);
  });
}
