/**
 * Reading and writing by position, complete or an error: `readSync` and `writeSync` may both stop short.
 */

import { appendFileSync, closeSync, fstatSync, openSync, readFileSync, readSync, statSync, writeSync } from 'node:fs';
import { CrayonError } from '../core/errors.js';
import { readError, writeError } from './errors.js';

/** One system call moves at most 2 GiB; a round number below it. */
const MAX_CALL_BYTES = 2 ** 30;

export interface OpenFile {
  fd: number;
  sizeBytes: number;
}

/** Opens a regular file for reading. A directory, pipe or device is refused before it can block. */
export function openRegularFile(path: string): OpenFile {
  try {
    // stat comes first: opening a named pipe would wait for its writer.
    const stats = statSync(path);
    if (stats.isDirectory()) {
      throw new CrayonError('file-unreadable', `${path}: expected a file, found a directory`);
    }
    if (!stats.isFile()) throw new CrayonError('file-unreadable', `${path}: not a regular file`);
    const fd = openSync(path, 'r');
    return { fd, sizeBytes: fstatSync(fd).size };
  } catch (error) {
    throw readError(path, error);
  }
}

/** Closes what `openRegularFile` opened. */
export function closeFile(fd: number): void {
  closeSync(fd);
}

/** Fills `target` from byte `position` of the file; a file that ends early is an error. */
export function readFully(fd: number, target: Uint8Array, position: number, path: string): void {
  let done = 0;
  try {
    while (done < target.byteLength) {
      const length = Math.min(target.byteLength - done, MAX_CALL_BYTES);
      const count = readSync(fd, target, done, length, position + done);
      if (count === 0) {
        throw new CrayonError('file-unreadable', `${path}: ends at byte ${position + done}, shorter than when opened`);
      }
      done += count;
    }
  } catch (error) {
    throw readError(path, error);
  }
}

/** Appends all of `data` at the file's current position. Errors pass as they are: the caller knows the final path. */
export function writeFully(fd: number, data: Uint8Array): void {
  let done = 0;
  while (done < data.byteLength) {
    done += writeSync(fd, data, done, Math.min(data.byteLength - done, MAX_CALL_BYTES));
  }
}

/** Reads a whole file of at most `maxBytes`. */
export function readSmallFile(path: string, maxBytes: number): Uint8Array {
  const { fd, sizeBytes } = openRegularFile(path);
  try {
    if (sizeBytes > maxBytes) {
      throw new CrayonError('file-unreadable', `${path}: ${sizeBytes} bytes, expected at most ${maxBytes}`);
    }
    const bytes = new Uint8Array(sizeBytes);
    readFully(fd, bytes, 0, path);
    return bytes;
  } finally {
    closeSync(fd);
  }
}

/** A text of unknown length, such as a lock's or one of /proc, which claims to be empty. Errors are the system's own. */
export function readText(path: string): string {
  return readFileSync(path, 'utf8');
}

/** Adds a line to a log; a line that a killed run cut short is the reader's affair. */
export function appendText(path: string, text: string): void {
  try {
    appendFileSync(path, text);
  } catch (error) {
    throw writeError(path, error);
  }
}

/** A typed array's bytes without a copy. */
export function bytesOf(data: ArrayBufferView): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}
