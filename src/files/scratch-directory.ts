/** A directory for files that only this process needs, gone when it ends. */

import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LIMITS } from '../core/limits.js';
import { isAlive } from './atomic.js';
import { writeError } from './io.js';
import { isJsonObject, readJson, writeJson } from './json.js';

const PREFIX = 'crayon-scratch-';
const OWNER = 'process.json';

export class ScratchDirectory {
  /** readable by this user only */
  readonly path: string;
  readonly #atExit = () => this.remove();

  /** Also removes what killed processes have left. */
  constructor(parent = tmpdir()) {
    try {
      removeOrphans(parent);
      this.path = mkdtempSync(join(parent, PREFIX)); // mode 0700
      writeJson(join(this.path, OWNER), { pid: process.pid });
    } catch (error) {
      throw writeError(parent, error);
    }
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
    this.discard(this.path);
  }
}

function removeOrphans(parent: string): void {
  for (const name of readdirSync(parent)) {
    const owner = join(parent, name, OWNER);
    if (!name.startsWith(PREFIX) || !existsSync(owner)) continue;
    try {
      const value = readJson(owner, LIMITS.noteBytes);
      const pid = isJsonObject(value) ? Number(value.pid) : Number.NaN;
      if (pid > 0 && pid !== process.pid && !isAlive(pid)) rmSync(join(parent, name), { recursive: true, force: true });
    } catch {} // another user's, or being written
  }
}
