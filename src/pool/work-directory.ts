/**
 * What a long run has finished so far, in a directory beside its output: each stage's tensors in one safetensors file,
 * written atomically, and the fingerprint of the run's inputs, so that it is only ever continued with the same ones.
 */

import { join } from 'node:path';
import { CrayonError, isCrayonError } from '../core/errors.js';
import { ensureDirectory } from '../files/atomic.js';
import { entriesOf, exists, removePath, writeError } from '../files/io.js';
import { readJsonObject, readOptionalJson, writeJson } from '../files/json.js';
import { LOCK_FILE, lock, refuseLocked, unlock } from '../files/lock.js';
import { refuseOtherRun } from '../files/resume.js';
import { discardTree, removeStaleSiblings } from '../files/siblings.js';
import { SafetensorsFile } from '../safetensors/read.js';
import { type TensorToWrite, writeSafetensors } from '../safetensors/write.js';

const FINGERPRINT = 'run.json';
const STAGE_EXTENSION = '.safetensors';

/** What a stage keeps: flat arrays of these types, whose shapes it knows. */
interface Arrays {
  F32: Float32Array;
  F64: Float64Array;
  I32: Int32Array;
}
type ArraysOf<S extends Record<string, keyof Arrays>> = { [K in keyof S]: Arrays[S[K]] };
const ARRAYS = { F32: Float32Array, F64: Float64Array, I32: Int32Array };

/** Where the build of a pool keeps its stages. */
export const workPath = (pool: string): string => `${pool}.building`;

/** Removes what a build left that was killed between its pool's appearance and its own end. The caller knows that nobody builds. */
export function discardWork(pool: string): void {
  const path = workPath(pool);
  removeStaleSiblings(path);
  if (exists(path)) discardTree(path);
}

export class WorkDirectory {
  /** True when an earlier run of the same fingerprint left a stage to continue from. */
  readonly resumed: boolean;

  /**
   * @param fingerprint everything that the run's result depends on
   * @param fresh discard what an earlier run left
   * @throws CrayonError `checkpoint-mismatch` when an earlier run had other inputs, `output-exists` while another process
   *   works here
   */
  constructor(
    readonly path: string,
    fingerprint: Record<string, unknown>,
    fresh: boolean,
  ) {
    const file = join(path, FINGERPRINT);
    try {
      removeStaleSiblings(path);
      refuseLocked(path, 'output');
      // A run that ended before its first stage was kept binds nobody.
      this.resumed = !fresh && exists(file) && this.#hasStages();
      if (this.resumed) {
        const earlier = orStartOver(() => readJsonObject(file));
        const hint = 'Repeat that run with its own options to continue it, or give --fresh to start over.';
        refuseOtherRun(path, earlier, fingerprint, hint);
      }
      ensureDirectory(path);
      lock(path, 'output');
    } catch (error) {
      throw writeError(path, error);
    }
    if (this.resumed) return;
    try {
      if (fresh) for (const name of entriesOf(path)) if (name !== LOCK_FILE) removePath(join(path, name));
      writeJson(file, fingerprint);
    } catch (error) {
      unlock(path);
      throw writeError(path, error);
    }
  }

  /**
   * The arrays of a finished stage, or undefined where it has not been reached.
   *
   * @param dtypes of the arrays, by their names
   * @throws CrayonError `safetensors-invalid` where the file is damaged or has other arrays
   */
  load<const S extends Record<string, keyof Arrays>>(stage: string, dtypes: S): ArraysOf<S> | undefined {
    return loadStage(this.path, stage, dtypes);
  }

  save(stage: string, arrays: Record<string, Arrays[keyof Arrays]>): void {
    writeSafetensors(this.#file(stage), tensorsOf(arrays));
  }

  has(stage: string): boolean {
    return exists(this.#file(stage));
  }

  /** Deletes all but these stages. */
  keepOnly(stages: readonly string[]): void {
    const kept = [LOCK_FILE, FINGERPRINT, ...stages.map((stage) => stage + STAGE_EXTENSION)];
    for (const name of entriesOf(this.path)) if (!kept.includes(name)) removePath(join(this.path, name));
  }

  /** Deletes it all: the run is complete, or not worth going on with. */
  remove(): void {
    discardTree(this.path);
    unlock(this.path);
  }

  /** Lets the next run in, now that this one has failed; where no stage has been kept, nothing stays. */
  release(): void {
    if (exists(this.path) && !this.#hasStages()) this.remove();
    else unlock(this.path);
  }

  #hasStages(): boolean {
    return entriesOf(this.path).some((name) => name.endsWith(STAGE_EXTENSION));
  }

  #file(stage: string): string {
    return stageFile(this.path, stage);
  }
}

/** Where a stage lies in a work directory. */
export const stageFile = (dir: string, stage: string): string => join(dir, stage + STAGE_EXTENSION);

/** `WorkDirectory.load`, of a directory that another process may be working in: a stage is there whole or not at all. */
export function loadStage<const S extends Record<string, keyof Arrays>>(
  dir: string,
  stage: string,
  dtypes: S,
): ArraysOf<S> | undefined {
  const path = stageFile(dir, stage);
  if (!exists(path)) return undefined;
  return orStartOver(() => {
    const file = SafetensorsFile.open(path);
    try {
      const arrays = Object.entries(dtypes).map(([name, dtype]) => [name, arrayOf(file, name, dtype)]);
      return Object.fromEntries(arrays) as ArraysOf<S>;
    } finally {
      file.close();
    }
  });
}

/** The fingerprint of the run that a work directory is of; undefined where none has begun. */
export function fingerprintOf(dir: string): Record<string, unknown> | undefined {
  return readOptionalJson(join(dir, FINGERPRINT));
}

/** The arrays of a stage, for a directory that nobody works in yet. */
export function saveStage(dir: string, stage: string, arrays: Record<string, Arrays[keyof Arrays]>): void {
  ensureDirectory(dir);
  writeSafetensors(stageFile(dir, stage), tensorsOf(arrays));
}

function tensorsOf(arrays: Record<string, Arrays[keyof Arrays]>): TensorToWrite[] {
  return Object.entries(arrays).map(([name, data]) => {
    const dtype = data instanceof Float32Array ? 'F32' : data instanceof Float64Array ? 'F64' : 'I32';
    return { name, dtype, shape: [data.length], data };
  });
}

function arrayOf(file: SafetensorsFile, name: string, dtype: keyof Arrays) {
  const { dtype: found } = file.info(name);
  if (found === dtype) return new ARRAYS[dtype](file.readBytes(name).slice().buffer);
  throw new CrayonError('safetensors-invalid', `${file.path}: "${name}" is ${found}, expected ${dtype}`);
}

/** A damaged checkpoint is the run's own file, so the way out is another than for the user's files. */
function orStartOver<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!isCrayonError(error)) throw error;
    throw new CrayonError(error.code, error.message, {
      hint: 'What the earlier run left is damaged: give --fresh to start over.',
      cause: error,
    });
  }
}
