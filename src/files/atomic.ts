/**
 * Files and directories that appear complete or not at all: written to a temporary sibling, synced, renamed. siblings.ts says what a
 * kill at each step leaves, and who mends it.
 */

import {
  close,
  closeSync,
  existsSync,
  fdatasync,
  fsyncSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  realpathSync,
  renameSync,
  rmdirSync,
  rmSync,
  statfsSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join, parse, resolve, sep } from 'node:path';
import { CrayonError } from '../core/errors.js';
import { errnoOf, writeError, writeFully } from './io.js';
import { discardTree, removeStaleSiblings, replaceDirectory, siblingOf } from './siblings.js';

/**
 * Removes a temporary sibling after a failure. Its own failure must not hide the first one: what stays is recognised by
 * the next run.
 */
function discard(temporary: string): void {
  try {
    rmSync(temporary, { recursive: true, force: true });
  } catch {}
}

/** Asks the system to put a file or directory on the disk itself. */
function syncPath(path: string): void {
  const fd = openSync(path, 'r');
  try {
    fsyncSync(fd);
  } catch (error) {
    // Some file systems cannot sync a directory; the rename is still atomic there.
    const errno = errnoOf(error);
    if (errno !== 'EINVAL' && errno !== 'EPERM' && errno !== 'EISDIR') throw error;
  } finally {
    closeSync(fd);
  }
}

/** A large file's pages are sent to the disk while the next ones are made, so that the last sync finds little to do. */
const WRITE_BEHIND_BYTES = 96 * 2 ** 20;

/**
 * Lets the system begin to put a file on the disk, on a thread of Node's own. By a descriptor of its own: errors stay for the sync at
 * the end, which reports them. Not on Windows, where an open file keeps its directory from being renamed.
 */
function startSync(path: string): void {
  if (process.platform === 'win32') return;
  try {
    const fd = openSync(path, 'r');
    fdatasync(fd, () => close(fd, () => {}));
  } catch {} // only a hint
}

/**
 * A file written piece by piece: `write()` as often as needed, then `finish()`. Any failure removes the temporary file;
 * `abort()` does so on purpose.
 */
export class AtomicFileStream {
  readonly #path: string;
  readonly #temporary: string;
  readonly #fd: number;
  #isOpen = true;
  #unsynced = 0;

  /**
   * @param sizeBytes size of the complete file, if known: a disk that is known to be too small is refused before any work
   * @throws CrayonError `disk-full` or `write-failed`
   */
  constructor(path: string, sizeBytes = 0) {
    this.#path = path;
    this.#temporary = siblingOf(path, 'tmp');
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
    this.#unsynced += bytes.byteLength;
    if (this.#unsynced < WRITE_BEHIND_BYTES) return;
    this.#unsynced = 0;
    startSync(this.#temporary);
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

function refuseWhenTooLarge(path: string, sizeBytes: number): void {
  const folder = dirname(resolve(path));
  if (sizeBytes === 0 || !existsSync(folder)) return; // opening it says so
  const { bavail, bsize, blocks } = statfsSync(folder);
  if (blocks === 0 || bavail * bsize >= sizeBytes) return; // some network file systems do not tell
  throw new CrayonError('disk-full', `${path}: needs ${sizeBytes} bytes, ${bavail * bsize} are free`, {
    hint: 'Free some space or write to another disk.',
  });
}

/**
 * Writes a file by way of a temporary sibling: readers see the old content or the new one, never a part.
 *
 * @throws CrayonError `disk-full` or `write-failed`; the temporary file is removed
 */
export function writeFileAtomic(path: string, data: string | Uint8Array): void {
  const file = new AtomicFileStream(path);
  file.write(typeof data === 'string' ? Buffer.from(data, 'utf8') : data);
  file.finish();
}

/** Makes a directory and the ones above it, where they are missing. @param mode of those that are made */
export function ensureDirectory(path: string, mode = 0o777): void {
  try {
    mkdirSync(path, { recursive: true, mode });
  } catch (error) {
    throw writeError(path, error);
  }
}

export interface DirectoryOptions {
  /** Replace an earlier output. */
  force?: boolean;
  /**
   * A file every earlier output of this kind has, e.g. `adapter_config.json`. With `force`, a directory that is neither
   * empty nor has it is still refused, so that a mistyped `--out` cannot remove somebody's files.
   */
  marker?: string;
}

/** A directory under construction: fill `dir`, then `commit()`; or `abort()`, which leaves nothing. */
export class AtomicDirectory {
  /** The temporary directory to write into. */
  readonly dir: string;
  readonly path: string;
  readonly #options: DirectoryOptions;
  /** The topmost folder that had to be made above the output, if any. */
  readonly #madeAbove: string | undefined;

  /** @throws CrayonError `output-exists` before any work when `path` may not be written */
  constructor(path: string, options: DirectoryOptions = {}) {
    this.path = resolve(path);
    this.#options = options;
    this.dir = siblingOf(path, 'tmp');
    try {
      this.#madeAbove = makeFolders(dirname(this.path));
      removeStaleSiblings(this.path);
      refuseUnlessReplaceable(this.path, options);
      mkdirSync(this.dir);
    } catch (error) {
      throw writeError(path, error);
    }
  }

  /** Syncs everything and puts it into place; the earlier output, if any, is removed last. */
  commit(): void {
    try {
      syncTree(this.dir);
      const earlier = replaceDirectory(this.dir, this.path, () => refuseUnlessReplaceable(this.path, this.#options));
      syncPath(dirname(this.path));
      if (earlier !== undefined) discardTree(earlier, this.path);
    } catch (error) {
      this.abort();
      throw writeError(this.path, error);
    }
  }

  /** Removes what has been written so far, and the empty folders that were made for it. */
  abort(): void {
    discard(this.dir);
    if (this.#madeAbove === undefined) return;
    try {
      for (let folder = dirname(this.path); folder.startsWith(this.#madeAbove); folder = dirname(folder)) {
        rmdirSync(folder);
      }
    } catch {} // another process has put something there
  }
}

/** Like `mkdir -p`. @returns the topmost folder that was made */
function makeFolders(path: string): string | undefined {
  try {
    return mkdirSync(path, { recursive: true });
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST') throw error; // a file of that name
    throw new CrayonError('write-failed', `${path}: is a file, not a directory to write into`, { cause: error });
  }
}

/** Messages of the writers inside name their files in the temporary directory, which is gone when they are read. */
function withFinalPath(error: unknown, { dir, path }: AtomicDirectory): unknown {
  if (!(error instanceof CrayonError) || !error.message.includes(dir)) return error;
  const { code, message, hint, cause } = error;
  return new CrayonError(code, message.replaceAll(dir, path), { hint, cause });
}

/** Fills a directory in one go; when `fill` throws, nothing is left behind. */
export function writeDirectoryAtomic(path: string, options: DirectoryOptions, fill: (dir: string) => void): void {
  const output = new AtomicDirectory(path, options);
  try {
    fill(output.dir);
  } catch (error) {
    output.abort();
    throw withFinalPath(writeError(path, error), output);
  }
  output.commit();
}

function refuseUnlessReplaceable(path: string, { force, marker }: DirectoryOptions): void {
  const stats = lstatSync(path, { throwIfNoEntry: false });
  if (stats === undefined) return;
  if (!stats.isDirectory()) throw outputExists(path, 'exists and is not a directory');
  const entries = readdirSync(path);
  if (!force) {
    if (entries.length === 0) return;
    throw outputExists(path, 'already exists', OR_FORCE);
  }
  const real = realpathSync(path);
  const isAncestor = (other: string): boolean => `${realpathSync(other)}${sep}`.startsWith(`${real}${sep}`);
  if (real === parse(real).root || isAncestor(process.cwd()) || isAncestor(homedir())) {
    throw outputExists(path, 'will not be replaced, it holds the working or home directory');
  }
  if (entries.length > 0 && marker !== undefined && !entries.includes(marker)) {
    const hint = 'It does not look like an earlier output of this command. Choose another output path.';
    throw outputExists(path, `will not be replaced, it has no ${marker}`, hint);
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
  if (!options.force) throw outputExists(path, 'already exists', OR_FORCE);
  if (!stats.isFile() || (stats.size > 0 && !startsWith(path, options.magic))) {
    throw outputExists(path, 'will not be replaced, it does not look like an earlier output');
  }
}

const OR_FORCE = 'Choose another output path, or pass --force to replace it.';

function outputExists(path: string, problem: string, hint = 'Choose another output path.'): CrayonError {
  return new CrayonError('output-exists', `${path}: ${problem}`, { hint });
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

function syncTree(dir: string): void {
  for (const entry of readdirSync(dir, { withFileTypes: true })) {
    const path = join(dir, entry.name);
    if (entry.isDirectory()) syncTree(path);
    else if (entry.isFile()) syncPath(path);
  }
  syncPath(dir);
}
