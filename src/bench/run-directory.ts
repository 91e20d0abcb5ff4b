/**
 * The directory that a bench run leaves behind (src/bench/types.ts says what is in it), while it is being written. A cell
 * is there completely or not at all, so a stopped run goes on with the cells that are missing.
 */

import { join } from 'node:path';
import { CrayonError } from '../core/errors.js';
import { ensureDirectory, writeFileAtomic } from '../files/atomic.js';
import { sha256 } from '../files/digest.js';
import { writeError } from '../files/errors.js';
import { type JsonObject, readJsonObject, readOptionalJson, writeJson } from '../files/json.js';
import { LOCK_FILE, lock, refuseLocked, unlock } from '../files/lock.js';
import { entriesOf, exists, removeIfEmpty, removePath } from '../files/paths.js';

/** The file by which a run directory is recognised. */
export const BENCH_MANIFEST = 'run.json';
/** Pools and other things that several cells use; may be deleted when the run is finished. */
const WORK = 'work';
/** A user's examples and adapter, while a cell is worked on. */
const SCRATCH = 'scratch';
const OWN = ['cells', 'answers', WORK, SCRATCH, LOCK_FILE];

export class BenchRunDirectory {
  /** what an earlier start wrote, or undefined for a new run */
  readonly earlier: JsonObject | undefined;

  /**
   * @param fresh throw away what an earlier run left here
   * @throws CrayonError `output-exists` for a directory of something else, or while another process works here
   */
  constructor(
    readonly path: string,
    { fresh = false, work }: { fresh?: boolean; work?: string | undefined } = {},
  ) {
    this.work = work ?? join(path, WORK);
    try {
      const manifest = join(path, BENCH_MANIFEST);
      const isRun = exists(manifest);
      if (exists(path) && !isRun && entriesOf(path).some((entry) => !OWN.includes(entry))) {
        throw new CrayonError('output-exists', `${path}: is not empty and no bench run`, {
          hint: 'Choose another --out.',
        });
      }
      refuseLocked(path, 'run');
      if (fresh && isRun) for (const part of ['cells', 'answers', 'load', BENCH_MANIFEST]) this.#remove(part);
      this.clearScratch(); // a killed run's
      this.earlier = readOptionalJson(manifest);
      for (const part of ['cells', 'answers']) ensureDirectory(join(path, part));
      lock(path);
    } catch (error) {
      throw writeError(path, error);
    }
  }

  /** where pools are kept from run to run */
  readonly work: string;

  /** A new empty directory for one cell's adapter; the caller names it, and it is removed by `clearScratch`. */
  scratch(name: string): string {
    const dir = join(this.path, SCRATCH, name);
    ensureDirectory(dir);
    return dir;
  }

  clearScratch(): void {
    this.#remove(SCRATCH);
  }

  writeManifest(manifest: object): void {
    writeJson(join(this.path, BENCH_MANIFEST), manifest);
  }

  hasCell(key: string): boolean {
    return exists(this.#cellFile(key));
  }

  readCell(key: string): JsonObject {
    return readJsonObject(this.#cellFile(key));
  }

  /** The answers first: a cell that is there has its answers. */
  writeCell(key: string, cell: object, answers: readonly object[]): void {
    const lines = answers.map((answer) => `${JSON.stringify(answer)}\n`).join('');
    writeFileAtomic(join(this.path, 'answers', `${key}.jsonl`), lines);
    writeJson(this.#cellFile(key), cell);
  }

  hasLoad(key: string): boolean {
    return exists(this.#loadFile(key));
  }

  readLoad(key: string): JsonObject {
    return readJsonObject(this.#loadFile(key));
  }

  writeLoad(key: string, cell: object): void {
    ensureDirectory(join(this.path, 'load'));
    writeJson(this.#loadFile(key), cell);
  }

  /** Lets the next run in. A run that failed before it began leaves nothing. */
  release(): void {
    this.clearScratch();
    unlock(this.path);
    if (exists(join(this.path, BENCH_MANIFEST))) return;
    for (const part of ['cells', 'answers', '.']) {
      removeIfEmpty(join(this.path, part));
    }
  }

  #loadFile(key: string): string {
    return join(this.path, 'load', `${key}.json`);
  }

  #cellFile(key: string): string {
    return join(this.path, 'cells', `${key}.json`);
  }

  #remove(part: string): void {
    removePath(join(this.path, part));
  }
}

/** A short name for something that depends on all of `settings`, for instance a pool in the work directory. */
export function nameOfSettings(settings: unknown): string {
  return sha256(JSON.stringify(settings)).slice(0, 16);
}

/**
 * Adds a load test to a run, or to a directory of nothing but load tests.
 *
 * @throws CrayonError `output-exists` for a directory of something else
 */
export function writeLoadCell(dir: string, key: string, cell: object): void {
  try {
    const isOurs = isBenchRun(dir) || exists(join(dir, 'load'));
    if (exists(dir) && !isOurs && entriesOf(dir).length > 0) {
      throw new CrayonError('output-exists', `${dir}: is not empty and no bench run`, {
        hint: 'Choose another --out.',
      });
    }
    ensureDirectory(join(dir, 'load'));
    writeJson(join(dir, 'load', `${key}.json`), cell);
  } catch (error) {
    throw writeError(dir, error);
  }
}

export function isBenchRun(dir: string): boolean {
  return exists(join(dir, BENCH_MANIFEST));
}
