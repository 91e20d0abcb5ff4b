/**
 * A file that comes over a network in parts, and whose beginning is worth keeping: when its process gives up or is killed, the next
 * one goes on where it ended. One process at a time has it, by its name: `NAME.PROCESS` while one writes, `NAME.free` between two.
 */

import { closeSync, fsyncSync, ftruncateSync, linkSync, openSync, renameSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { ensureDirectory } from './atomic.js';
import { sha256File } from './digest.js';
import { entriesOf, errnoOf, writeError, writeFully } from './io.js';
import { isLeftover, processTag, readProcessTag } from './process-identity.js';

const FREE = 'free';

export class PartialFile {
  /** bytes that are there */
  size: number;
  readonly #fd: number;
  readonly #path: string;
  readonly #free: string;
  #isOpen = true;

  /**
   * Takes what an earlier process has left under this name, or begins.
   *
   * @param dir is made where it is missing
   * @throws CrayonError `write-failed`, `disk-full`
   */
  constructor(dir: string, name: string) {
    this.#free = join(dir, `${name}.${FREE}`);
    this.#path = join(dir, `${name}.${processTag()}`);
    ensureDirectory(dir);
    for (const entry of entriesOf(dir)) if (entry.startsWith(`${name}.`) && this.#take(join(dir, entry), name)) break;
    try {
      this.#fd = openSync(this.#path, 'a');
      this.size = statSync(this.#path).size;
    } catch (error) {
      throw writeError(this.#path, error);
    }
  }

  /** @throws CrayonError `disk-full`, `write-failed` */
  append(bytes: Uint8Array): void {
    try {
      writeFully(this.#fd, bytes);
      this.size += bytes.byteLength;
    } catch (error) {
      throw writeError(this.#path, error);
    }
  }

  /** Forgets what is there. */
  restart(): void {
    ftruncateSync(this.#fd, 0);
    this.size = 0;
  }

  /** SHA-256 of what is there. */
  digest(): string {
    return sha256File(this.#path);
  }

  /** It is complete: synced, and renamed to `path` on the same disk. */
  finish(path: string): void {
    try {
      fsyncSync(this.#fd);
      this.#close();
      renameSync(this.#path, path);
    } catch (error) {
      throw writeError(path, error);
    }
  }

  /** Leaves it to whoever goes on; nothing where nothing has come, or where it is finished. */
  release(): void {
    if (!this.#isOpen) return;
    this.#close();
    try {
      if (this.size === 0) rmSync(this.#path, { force: true });
      else renameSync(this.#path, this.#free);
    } catch {} // what stays is taken over once this process has ended
  }

  #close(): void {
    this.#isOpen = false;
    closeSync(this.#fd);
  }

  #take(path: string, name: string): boolean {
    const tag = path.slice(this.#free.length - FREE.length);
    try {
      const owner = readProcessTag(tag);
      if (path !== this.#free && (owner === null || !isLeftover(owner, statSync(path).mtimeMs))) return false;
      renameSync(path, this.#path);
      return true;
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return false; // another process was first
      throw writeError(join(path, '..', name), error);
    }
  }
}

/** Gives a file a second name on the same disk. @returns whether that could be done */
export function linkFile(from: string, to: string): boolean {
  try {
    linkSync(from, to);
    return true;
  } catch {
    return false; // gone meanwhile, there already, or a file system without links
  }
}
