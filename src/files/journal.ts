/**
 * A file that several processes add lines to at the same time, and read what the others have added: each line is one write in append
 * mode, which a local file system puts behind all others, whole. What is written survives the end of its process by whatever signal;
 * it is not synced, so a loss of power may take the last seconds.
 */

import {
  closeSync,
  constants,
  fstatSync,
  linkSync,
  openSync,
  readSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { CrayonError } from '../core/errors.js';
import { errnoOf, exists, writeError } from './io.js';
import { removeStaleSiblings, siblingOf } from './siblings.js';

const CHUNK_BYTES = 2 ** 20;
const LINE_FEED = 10;

export class SharedJournal {
  #fd: number;
  #position = 0;
  #rest: Buffer = Buffer.alloc(0);

  /**
   * Opens the file, or begins it.
   *
   * @param first gives the line that it begins with, where it does not exist; of several processes one's stands there
   * @throws CrayonError `write-failed`, `disk-full`
   */
  constructor(
    readonly path: string,
    first: () => string,
  ) {
    try {
      removeStaleSiblings(path);
      if (!exists(path)) begin(path, first());
      this.#fd = openSync(path, constants.O_RDWR | constants.O_APPEND);
    } catch (error) {
      throw writeError(path, error);
    }
  }

  /** Adds a line. @throws CrayonError `write-failed`, `disk-full`: then nothing that counts was added */
  append(line: string): void {
    // A line feed before it too: what somebody else's full disk cut short stays a line of its own.
    const bytes = Buffer.from(`\n${line}\n`);
    let written: number;
    try {
      written = writeSync(this.#fd, bytes);
    } catch (error) {
      throw writeError(this.path, error);
    }
    // Without its last line feed it is whole: the next line begins with one.
    if (written < bytes.length - 1) {
      throw new CrayonError('disk-full', `${this.path}: no space left while writing`, { hint: 'Free some space.' });
    }
  }

  /**
   * Gives each line that was added since the last call, in the order in which all processes see them.
   *
   * @throws CrayonError `file-unreadable` where somebody cut the file; it goes on with what comes after
   */
  readNew(take: (line: string) => void): void {
    const { size } = fstatSync(this.#fd);
    if (size < this.#position) {
      this.#position = size;
      throw new CrayonError('file-unreadable', `${this.path}: was cut while in use, and counts on from what was known`);
    }
    while (this.#position < size) {
      const chunk = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, size - this.#position));
      const count = readSync(this.#fd, chunk, 0, chunk.length, this.#position);
      if (count === 0) return;
      this.#position += count;
      const bytes = Buffer.concat([this.#rest, chunk.subarray(0, count)]);
      const end = bytes.lastIndexOf(LINE_FEED) + 1;
      this.#rest = bytes.subarray(end);
      for (const line of bytes.toString('utf8', 0, end).split('\n')) if (line !== '') take(line);
    }
  }

  /** Whether there is more to read. */
  hasNew(): boolean {
    return fstatSync(this.#fd).size > this.#position;
  }

  /** Whether somebody removed the file: others that open it begin another. */
  isRemoved(): boolean {
    return fstatSync(this.#fd).nlink === 0;
  }

  close(): void {
    closeSync(this.#fd);
  }
}

/** Makes the file with its first line in it, unless another process is quicker. */
function begin(path: string, first: string): void {
  const made = siblingOf(path, 'tmp');
  const write = (to: string): void => writeFileSync(to, `${first}\n`, { flag: 'wx' });
  try {
    write(made);
    linkSync(made, path);
  } catch (error) {
    if (errnoOf(error) === 'EEXIST') return;
    if (!exists(made)) throw error;
    write(path); // a file system without hard links
  } finally {
    rmSync(made, { force: true });
  }
}
