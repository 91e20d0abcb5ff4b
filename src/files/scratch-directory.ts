/**
 * A directory for files that only this process needs, gone when it ends. Its name says whose it is, so that those of killed processes
 * are told from those of running ones (process-identity.ts).
 */

import { existsSync, mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LIMITS } from '../core/limits.js';
import { touchQuietly, writeError } from './io.js';
import { readJsonObject } from './json.js';
import { isLeftover, processTag, readProcessTag } from './process-identity.js';

const PREFIX = 'crayon-scratch-';
/** Earlier versions kept their process's number in this file. */
const OWNER = 'process.json';
/** A sign of life for those that cannot see this process: other containers on a shared volume. */
const TOUCH_MS = 60_000;

export class ScratchDirectory {
  /** readable by this user only */
  readonly path: string;
  readonly #atExit = () => this.remove();
  readonly #touching: NodeJS.Timeout;

  /** Also removes what killed processes have left. */
  constructor(parent = tmpdir()) {
    try {
      removeOrphans(parent);
      this.path = join(parent, PREFIX + processTag());
      mkdirSync(this.path, { mode: 0o700 });
    } catch (error) {
      throw writeError(parent, error);
    }
    this.#touching = setInterval(() => touchQuietly(this.path), TOUCH_MS).unref();
    process.once('exit', this.#atExit);
  }

  /** Removes one file or directory within; what is not there is no failure. */
  discard(path: string): void {
    try {
      rmSync(path, { recursive: true, force: true });
    } catch {} // it goes with the whole
  }

  /** Removes it all. */
  remove(): void {
    process.removeListener('exit', this.#atExit);
    clearInterval(this.#touching);
    this.discard(this.path);
  }
}

function removeOrphans(parent: string): void {
  for (const name of readdirSync(parent)) {
    if (!name.startsWith(PREFIX)) continue;
    const path = join(parent, name);
    try {
      const owner = readProcessTag(name.slice(PREFIX.length)) ?? earlierOwner(join(path, OWNER));
      if (owner !== null && isLeftover(owner, statSync(path).mtimeMs)) rmSync(path, { recursive: true, force: true });
    } catch {} // another user's, or being removed
  }
}

function earlierOwner(file: string): { pid: number } | null {
  if (!existsSync(file)) return null;
  const pid = Number(readJsonObject(file, LIMITS.noteBytes).pid);
  return pid > 0 ? { pid } : null;
}
