/**
 * The file system below the formats: what lies at a path and small changes to it; reading and writing by position, complete or
 * an error, as `readSync` and `writeSync` may both stop short; and which errno means what to a user.
 */

import {
  appendFileSync,
  closeSync,
  existsSync,
  fstatSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  rmdirSync,
  rmSync,
  type Stats,
  statSync,
  utimesSync,
  writeSync,
} from 'node:fs';
import { CrayonError, type ErrorCode } from '../core/errors.js';
import { reappears } from './siblings.js';

/** The path without links, which must exist; the end of `openRegularFile`. */
export { closeSync as closeFile, realpathSync as realPath } from 'node:fs';

/** Whether something is there, a link's target included; what a run is replacing just now is. */
export function exists(path: string): boolean {
  return existsSync(path) || reappears(path);
}

export function isFile(path: string): boolean {
  return exists(path) && (statsOf(path)?.isFile() ?? false);
}

export function isDirectory(path: string): boolean {
  return exists(path) && (statsOf(path)?.isDirectory() ?? false);
}

/** Bytes of a file. @throws CrayonError `file-not-found` */
export function fileSize(path: string): number {
  return found(path, () => statSync(path).size);
}

function statsOf(path: string): Stats | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false });
  } catch (error) {
    throw readError(path, error);
  }
}

/**
 * Names in a directory, in the system's order.
 *
 * @throws CrayonError `file-not-found`, `file-unreadable`
 */
export function entriesOf(dir: string): string[] {
  return found(dir, () => readdirSync(dir));
}

/** Attempts of a reader that comes between the two renames of a writer. */
const MAX_READS = 5;

/** What `read` returns; where it finds nothing at `path`, once more if a run is replacing the output that it belongs to. */
function found<T>(path: string, read: () => T): T {
  for (let attempt = 1; ; attempt++) {
    try {
      return read();
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT' || attempt === MAX_READS || !exists(path)) throw readError(path, error);
    }
  }
}

/** When a file was changed, or touched, last: milliseconds since 1970. @throws CrayonError `file-not-found` */
export function modifiedMs(path: string): number {
  return found(path, () => statSync(path).mtimeMs);
}

/** Marks a file as used just now. */
export function touch(path: string): void {
  const now = new Date();
  utimesSync(path, now, now);
}

/** The same where it need not be there, or ours: whoever removed it knows why. */
export function touchQuietly(path: string): void {
  try {
    touch(path);
  } catch {}
}

/** Removes a file or a whole directory; what is not there is no failure. @throws CrayonError `write-failed` */
export function removePath(path: string): void {
  try {
    rmSync(path, { recursive: true, force: true });
  } catch (error) {
    throw writeError(path, error);
  }
}

/** In place of what has the new name, on the same disk. @throws CrayonError `write-failed` */
export function renamePath(from: string, to: string): void {
  try {
    renameSync(from, to);
  } catch (error) {
    throw writeError(to, error);
  }
}

/** @throws CrayonError `write-failed` */
export function removeIfEmpty(dir: string): void {
  try {
    if (existsSync(dir) && readdirSync(dir).length === 0) rmdirSync(dir);
  } catch (error) {
    throw writeError(dir, error);
  }
}

/** One system call moves at most 2 GiB; a round number below it. */
const MAX_CALL_BYTES = 2 ** 30;

export interface OpenFile {
  fd: number;
  sizeBytes: number;
}

/** Opens a regular file for reading. A directory, pipe or device is refused before it can block. */
export function openRegularFile(path: string): OpenFile {
  return found(path, () => {
    // stat comes first: opening a named pipe would wait for its writer.
    const stats = statSync(path);
    if (stats.isDirectory()) {
      throw new CrayonError('file-unreadable', `${path}: expected a file, found a directory`);
    }
    if (!stats.isFile()) throw new CrayonError('file-unreadable', `${path}: not a regular file`);
    const fd = openSync(path, 'r');
    return { fd, sizeBytes: fstatSync(fd).size };
  });
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

/** Opens a log that another process will add to; the caller closes it. @throws CrayonError `write-failed` */
export function openLog(path: string): number {
  try {
    return openSync(path, 'a');
  } catch (error) {
    throw writeError(path, error);
  }
}

/** The last bytes of a text, from the beginning of a line. */
export function tailOf(path: string, mostBytes: number): string {
  const { fd, sizeBytes } = openRegularFile(path);
  try {
    const bytes = new Uint8Array(Math.min(sizeBytes, mostBytes));
    readFully(fd, bytes, sizeBytes - bytes.length, path);
    const text = new TextDecoder().decode(bytes);
    return bytes.length < sizeBytes ? text.slice(text.indexOf('\n') + 1) : text;
  } finally {
    closeSync(fd);
  }
}

/** Overwrites a small file from its start by one write. Errors are the system's own: `ENOENT` where there is none. */
export function overwriteStart(path: string, text: string): void {
  const fd = openSync(path, 'r+');
  try {
    writeSync(fd, text, 0);
  } finally {
    closeSync(fd);
  }
}

/** A typed array's bytes without a copy. */
export function bytesOf(data: ArrayBufferView): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

/** The name of a system error, e.g. 'ENOENT', or undefined for other errors. */
export function errnoOf(error: unknown): string | undefined {
  if (!(error instanceof Error && 'code' in error && typeof error.code === 'string')) return undefined;
  if (error.code === 'ERR_INVALID_ARG_VALUE') return 'ENOENT'; // a path with a NUL character, which no file has
  return 'syscall' in error ? error.code : undefined;
}

type Meaning = [code: ErrorCode, words: string, hint?: string];

const READ_ERRORS: Record<string, Meaning> = {
  ENOENT: ['file-not-found', 'no such file or directory'],
  ENOTDIR: ['file-not-found', 'no such file or directory'],
  EISDIR: ['file-unreadable', 'expected a file, found a directory'],
  EACCES: ['file-unreadable', 'permission to read denied'],
  EPERM: ['file-unreadable', 'permission to read denied'],
};

const FREE_SPACE = 'Free some space or write to another disk; nothing partial was left behind.';
const WRITE_ERRORS: Record<string, Meaning> = {
  ENOSPC: ['disk-full', 'no space left while writing', FREE_SPACE],
  EDQUOT: ['disk-full', 'no space left while writing', FREE_SPACE],
  ENOENT: ['write-failed', 'the folder to write into does not exist'],
  ENOTDIR: ['write-failed', 'a part of this path is a file, not a directory'],
  EACCES: ['write-failed', 'permission to write denied (EACCES)'],
  EPERM: ['write-failed', 'permission to write denied (EPERM)'],
  EROFS: ['write-failed', 'permission to write denied (EROFS)'],
};

/** For a failed open, stat or read of `path`. What is no system error passes unchanged. */
function readError(path: string, error: unknown): unknown {
  return explained(path, error, READ_ERRORS, ['file-unreadable', 'cannot be read']);
}

/** For a failed create, write, sync or rename of `path`. What is no system error passes unchanged. */
export function writeError(path: string, error: unknown): unknown {
  return explained(path, error, WRITE_ERRORS, ['write-failed', 'cannot be written']);
}

function explained(path: string, error: unknown, meanings: Record<string, Meaning>, other: Meaning): unknown {
  const errno = errnoOf(error);
  if (errno === undefined) return error;
  const [code, words, hint] = meanings[errno] ?? [other[0], `${other[1]} (${errno})`];
  return new CrayonError(code, `${path}: ${words}`, { hint, cause: error });
}
