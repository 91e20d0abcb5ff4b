/** The programs by which a queue is spoken to, such as sbatch or kubectl. */

import { execFile } from 'node:child_process';
import { CrayonError } from '../core/errors.js';
import { LIMITS } from '../core/limits.js';

export interface ProgramOptions {
  /** what its absence means, and what to do then */
  missing: [meaning: string, hint: string];
  /** for its standard input */
  input?: string | undefined;
  timeoutMs?: number | undefined;
}

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
      const words = error.killed ? `ended after ${timeoutMs / 1000} s` : stderr.trim() || error.message;
      reject(new CrayonError('jobs-failed', `${program}: ${words}`, { cause: error }));
    });
    child.stdin?.on('error', () => {}); // it ended before it had read all
    child.stdin?.end(input);
  });
}
