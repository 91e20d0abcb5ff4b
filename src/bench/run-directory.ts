/**
 * The directory that a bench run leaves behind (src/bench/types.ts says what is in it), while it is being written. A cell
 * is there completely or not at all, so a stopped run goes on with the cells that are missing.
 */

import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { CrayonError } from '../core/errors.js';
import { ensureDirectory, isAlive, writeFileAtomic } from '../files/atomic.js';
import { sha256 } from '../files/digest.js';
import { writeError } from '../files/errors.js';
import { type JsonObject, readJsonObject, readOptionalJson, writeJson } from '../files/json.js';

/** The file by which a run directory is recognised. */
export const BENCH_MANIFEST = 'run.json';
/** Pools and other things that several cells use; may be deleted when the run is finished. */
const WORK = 'work';
/** A user's examples and adapter, while a cell is worked on. */
const SCRATCH = 'scratch';
const OCCUPANT = 'process';
const OWN = ['cells', 'answers', WORK, SCRATCH, OCCUPANT];

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
      const isRun = existsSync(manifest);
      if (existsSync(path) && !isRun && readdirSync(path).some((entry) => !OWN.includes(entry))) {
        throw new CrayonError('output-exists', `${path}: is not empty and no bench run`, {
          hint: 'Choose another --out.',
        });
      }
      this.refuseOccupied();
      if (fresh && isRun) for (const part of ['cells', 'answers', 'load', BENCH_MANIFEST]) this.remove(part);
      this.clearScratch(); // a killed run's
      this.earlier = readOptionalJson(manifest);
      for (const part of ['cells', 'answers']) mkdirSync(join(path, part), { recursive: true });
      writeFileAtomic(join(path, OCCUPANT), `${process.pid}\n`);
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
    this.remove(SCRATCH);
  }

  writeManifest(manifest: object): void {
    writeJson(join(this.path, BENCH_MANIFEST), manifest);
  }

  hasCell(key: string): boolean {
    return existsSync(this.cellFile(key));
  }

  readCell(key: string): JsonObject {
    return readJsonObject(this.cellFile(key));
  }

  /** The answers first: a cell that is there has its answers. */
  writeCell(key: string, cell: object, answers: readonly object[]): void {
    const lines = answers.map((answer) => `${JSON.stringify(answer)}\n`).join('');
    writeFileAtomic(join(this.path, 'answers', `${key}.jsonl`), lines);
    writeJson(this.cellFile(key), cell);
  }

  hasLoad(key: string): boolean {
    return existsSync(this.loadFile(key));
  }

  readLoad(key: string): JsonObject {
    return readJsonObject(this.loadFile(key));
  }

  writeLoad(key: string, cell: object): void {
    ensureDirectory(join(this.path, 'load'));
    writeJson(this.loadFile(key), cell);
  }

  /** Lets the next run in. A run that failed before it began leaves nothing. */
  release(): void {
    this.clearScratch();
    this.remove(OCCUPANT);
    if (existsSync(join(this.path, BENCH_MANIFEST))) return;
    for (const part of ['cells', 'answers', '.']) {
      const dir = join(this.path, part);
      if (existsSync(dir) && readdirSync(dir).length === 0) rmdirSync(dir);
    }
  }

  private loadFile(key: string): string {
    return join(this.path, 'load', `${key}.json`);
  }

  private cellFile(key: string): string {
    return join(this.path, 'cells', `${key}.json`);
  }

  private remove(part: string): void {
    rmSync(join(this.path, part), { recursive: true, force: true });
  }

  private refuseOccupied(): void {
    const file = join(this.path, OCCUPANT);
    const pid = existsSync(file) ? Number.parseInt(readFileSync(file, 'utf8'), 10) : Number.NaN;
    if (!(pid > 0) || !isAlive(pid)) return; // what a killed run leaves
    throw new CrayonError('output-exists', `${this.path}: process ${pid} is at work on the same run`, {
      hint: `Wait for it, or choose another --out. If process ${pid} is another program, delete ${file}.`,
    });
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
    const isOurs = isBenchRun(dir) || existsSync(join(dir, 'load'));
    if (existsSync(dir) && !isOurs && readdirSync(dir).length > 0) {
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
  return existsSync(join(dir, BENCH_MANIFEST));
}
