/**
 * The directory that a bench run leaves behind (src/bench/types.ts says what is in it), while it is being written: files of
 * this run's own, read back as they were written. A cell is there completely or not at all, so a stopped run goes on with the
 * cells that are missing.
 */

import { join } from 'node:path';
import { CrayonError } from '../core/errors.js';
import { ensureDirectory, writeFileAtomic } from '../files/atomic.js';
import { entriesOf, exists, readText, removeIfEmpty, removePath, writeError } from '../files/io.js';
import { parseJson, readJson, readOptionalJson, writeJson } from '../files/json.js';
import { LOCK_FILE, lock, refuseLocked, unlock } from '../files/lock.js';
import { isSiblingName } from '../files/siblings.js';
import type { AnswerRecord, Cell, LoadCell, RunManifest } from './types.js';

/** Names the files of a cell: of its user, its strategy, and the options by which it differs. */
export function cellKey(user: string, strategy: string, options: Readonly<Record<string, unknown>> = {}): string {
  const parts = Object.entries(options).map(([name, value]) => `--${name}=${value}`);
  return fileName(`${user}--${strategy}${parts.join('')}`);
}

/** Other characters than these become `_`. */
export function fileName(text: string): string {
  return text.replaceAll(/[^A-Za-z0-9._=+-]/g, '_');
}

/** The file by which a run directory is recognised. */
const BENCH_MANIFEST = 'run.json';
/** Pools and other things that several cells use; may be deleted when the run is finished. */
const WORK = 'work';
/** A user's examples and adapter, while a cell is worked on. */
const SCRATCH = 'scratch';
const OWN = ['cells', 'answers', WORK, SCRATCH, LOCK_FILE];

export class BenchRunDirectory {
  readonly path: string;
  /** where pools are kept from run to run */
  readonly work: string;
  /** what an earlier start wrote, or undefined for a new run */
  readonly earlier: RunManifest | undefined;

  /**
   * @param fresh throw away what an earlier run left here
   * @throws CrayonError `output-exists` for a directory of something else, or while another process works here
   */
  constructor(path: string, { fresh = false, work }: { fresh?: boolean; work?: string | undefined } = {}) {
    this.path = path;
    this.work = work ?? join(path, WORK);
    try {
      if (!isBenchRun(path) && exists(path) && entriesOf(path).some(isForeign)) throw notOurs(path);
      refuseLocked(path, 'run');
      ensureDirectory(path);
      lock(path, 'run');
    } catch (error) {
      throw writeError(path, error);
    }
    try {
      if (fresh && isBenchRun(path))
        for (const part of ['cells', 'answers', 'load', BENCH_MANIFEST]) removePath(join(path, part));
      this.clearScratch(); // a killed run's
      this.earlier = readOptionalJson(join(path, BENCH_MANIFEST)) as RunManifest | undefined;
      for (const part of ['cells', 'answers']) ensureDirectory(join(path, part));
    } catch (error) {
      unlock(path);
      throw writeError(path, error);
    }
  }

  /** A new empty directory for one cell's adapter; the caller names it, and it is removed by `clearScratch`. */
  scratch(name: string): string {
    const dir = join(this.path, SCRATCH, name);
    ensureDirectory(dir);
    return dir;
  }

  clearScratch(): void {
    removePath(join(this.path, SCRATCH));
  }

  writeManifest(manifest: RunManifest): void {
    writeJson(join(this.path, BENCH_MANIFEST), manifest);
  }

  hasCell(key: string): boolean {
    return exists(this.#cellFile(key));
  }

  readCell(key: string): Cell {
    return readJson(this.#cellFile(key)) as Cell;
  }

  readAnswers(key: string): AnswerRecord[] {
    const path = this.#answersFile(key);
    const lines = readText(path).trimEnd().split('\n');
    return lines.map((line) => parseJson(line, path) as AnswerRecord);
  }

  /** The answers first: a cell that is there has its answers. */
  writeCell(cell: Cell, answers: readonly AnswerRecord[]): void {
    const lines = answers.map((answer) => `${JSON.stringify(answer)}\n`);
    writeFileAtomic(this.#answersFile(cell.key), lines.join(''));
    writeJson(this.#cellFile(cell.key), cell);
  }

  hasLoad(key: string): boolean {
    return exists(loadFile(this.path, key));
  }

  readLoad(key: string): LoadCell {
    return readJson(loadFile(this.path, key)) as LoadCell;
  }

  writeLoad(cell: LoadCell): void {
    writeLoad(this.path, cell);
  }

  /** Lets the next run in, which clears up what cannot be removed now. A run that failed before it began leaves nothing. */
  release(): void {
    try {
      this.clearScratch();
    } catch {} // the run's own failure is what there is to say
    unlock(this.path);
    if (isBenchRun(this.path)) return;
    try {
      for (const part of ['cells', 'answers', '.']) removeIfEmpty(join(this.path, part));
    } catch {}
  }

  #answersFile(key: string): string {
    return join(this.path, 'answers', `${key}.jsonl`);
  }

  #cellFile(key: string): string {
    return join(this.path, 'cells', `${key}.json`);
  }
}

/**
 * Adds a load test to a run, or to a directory of nothing but load tests.
 *
 * @throws CrayonError `output-exists` for a directory of something else
 */
export function writeLoadCell(dir: string, cell: LoadCell): void {
  try {
    const isOurs = isBenchRun(dir) || exists(join(dir, 'load'));
    if (exists(dir) && !isOurs && entriesOf(dir).length > 0) throw notOurs(dir);
    writeLoad(dir, cell);
  } catch (error) {
    throw writeError(dir, error);
  }
}

/** What no run has made, nor left when it was killed. */
const isForeign = (name: string) => !OWN.includes(name) && !isSiblingName(name);

export function isBenchRun(dir: string): boolean {
  return exists(join(dir, BENCH_MANIFEST));
}

function writeLoad(dir: string, cell: LoadCell): void {
  ensureDirectory(join(dir, 'load'));
  writeJson(loadFile(dir, cell.key), cell);
}

function loadFile(dir: string, key: string): string {
  return join(dir, 'load', `${key}.json`);
}

function notOurs(dir: string): CrayonError {
  return new CrayonError('output-exists', `${dir}: is not empty and no bench run`, { hint: 'Choose another --out.' });
}
