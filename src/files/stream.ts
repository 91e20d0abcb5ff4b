/**
 * A file written piece by piece that appears complete or not at all: into a temporary sibling, synced, renamed.
 */

import { closeSync, existsSync, fsyncSync, lstatSync, openSync, readSync, renameSync, statfsSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { CrayonError } from '../core/errors.js';
import { discard, removeStaleSiblings, syncPath, temporarySibling } from './atomic.js';
import { writeError } from './errors.js';
import { writeFully } from './io.js';

/** `write()` as often as needed, then `finish()`. Any failure removes the temporary file; `abort()` does so on purpose. */
export class AtomicFileStream {
  readonly #path: string;
  readonly #temporary: string;
  readonly #fd: number;
  #isOpen = true;

  /**
   * @param sizeBytes size of the complete file: a disk that is known to be too small is refused before any work
   * @throws CrayonError `disk-full` or `write-failed`
   */
  constructor(path: string, sizeBytes: number) {
    this.#path = path;
    this.#temporary = temporarySibling(path);
    try {
      removeStaleSiblings(path);
      refuseWhenTooLarge(path, sizeBytes);
      this.#fd = openSync(this.#temporary, 'wx');
    } catch (error) {
      throw writeError(path, error);
    }
  }

  write(bytes: Uint8Array): void {
    this.#attempt(() => writeFully(this.#fd, bytes));
  }

  /** Syncs and renames into place. */
  finish(): void {
    this.#attempt(() => {
      fsyncSync(this.#fd);
      this.#isOpen = false;
      closeSync(this.#fd);
      renameSync(this.#temporary, this.#path);
      syncPath(dirname(resolve(this.#path)));
    });
  }

  /** Gives up and removes the temporary file. */
  abort(): void {
    if (this.#isOpen) closeSync(this.#fd);
    this.#isOpen = false;
    discard(this.#temporary);
  }

  #attempt(action: () => void): void {
    try {
      action();
    } catch (error) {
      this.abort();
      throw writeError(this.#path, error);
    }
  }
}

/**
 * Refuses an output file that exists. With `force` it may be replaced, but only by its own kind: a mistyped path must not
 * cost somebody another file.
 *
 * @param magic bytes that every earlier output of this kind starts with
 * @throws CrayonError `output-exists`
 */
export function refuseUnlessReplaceableFile(path: string, options: { force?: boolean; magic: Uint8Array }): void {
  const stats = lstatSync(path, { throwIfNoEntry: false });
  if (stats === undefined) return;
  if (!options.force) {
    throw new CrayonError('output-exists', `${path}: already exists`, {
      hint: 'Choose another output path, or pass --force to replace it.',
    });
  }
  if (!stats.isFile() || (stats.size > 0 && !startsWith(path, options.magic))) {
    throw new CrayonError('output-exists', `${path}: will not be replaced, it does not look like an earlier output`, {
      hint: 'Choose another output path.',
    });
  }
}

function startsWith(path: string, magic: Uint8Array): boolean {
  const fd = openSync(path, 'r');
  try {
    const start = new Uint8Array(magic.length);
    readSync(fd, start, 0, start.length, 0);
    return magic.every((byte, i) => byte === start[i]);
  } finally {
    closeSync(fd);
  }
}

function refuseWhenTooLarge(path: string, sizeBytes: number): void {
  const folder = dirname(resolve(path));
  if (!existsSync(folder)) return; // opening it says so
  const { bavail, bsize, blocks } = statfsSync(folder);
  if (blocks === 0 || bavail * bsize >= sizeBytes) return; // some network file systems do not tell
  throw new CrayonError('disk-full', `${path}: needs ${sizeBytes} bytes, ${bavail * bsize} are free`, {
    hint: 'Free some space or write to another disk.',
  });
}
