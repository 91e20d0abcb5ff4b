/**
 * What a long run has finished so far, in a directory beside its output: each stage's tensors in one safetensors file,
 * written atomically, and the fingerprint of the run's inputs, so that it is only ever continued with the same ones.
 */

import { join } from 'node:path';
import { CrayonError, isCrayonError } from '../core/errors.js';
import { ensureDirectory } from '../files/atomic.js';
import { entriesOf, exists, removePath, writeError } from '../files/io.js';
import { readJsonObject, writeJson } from '../files/json.js';
import { lock, refuseLocked, refuseOtherRun, unlock } from '../files/resume.js';
import { SafetensorsFile } from '../safetensors/read.js';
import { type TensorToWrite, writeSafetensors } from '../safetensors/write.js';

const FINGERPRINT = 'run.json';
const STAGE_EXTENSION = '.safetensors';

/** What a stage keeps: flat arrays, whose shapes it knows. */
type Arrays = Record<string, Float32Array | Float64Array | Int32Array>;

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
      refuseLocked(path, 'output');
      if (fresh) this.remove();
      // A run that ended before its first stage was kept binds nobody.
      this.resumed = exists(file) && this.#hasStages();
      if (!this.resumed) {
        ensureDirectory(path);
        writeJson(file, fingerprint);
        lock(path);
        return;
      }
    } catch (error) {
      throw writeError(path, error);
    }
    const hint = 'Repeat that run with its own options to continue it, or give --fresh to start over.';
    refuseOtherRun(
      path,
      orStartOver(() => readJsonObject(file)),
      fingerprint,
      hint,
    );
    lock(path);
  }

  /** The arrays of a finished stage by their names, or undefined where it has not been reached. */
  load<T extends Arrays>(stage: string): T | undefined {
    const path = this.#file(stage);
    if (!exists(path)) return undefined;
    return orStartOver(() => {
      const file = SafetensorsFile.open(path);
      try {
        return Object.fromEntries([...file.tensors.keys()].map((name) => [name, arrayOf(file, name)])) as T;
      } finally {
        file.close();
      }
    });
  }

  save(stage: string, arrays: Arrays): void {
    const tensors = Object.entries(arrays).map(([name, data]): TensorToWrite => {
      const dtype = data instanceof Float32Array ? 'F32' : data instanceof Float64Array ? 'F64' : 'I32';
      return { name, dtype, shape: [data.length], data };
    });
    writeSafetensors(this.#file(stage), tensors);
  }

  /** Lets the next run in, now that this one has failed. */
  release(): void {
    unlock(this.path);
  }

  /** Deletes it all: the run is complete. */
  remove(): void {
    removePath(this.path);
  }

  /** After a failure: deletes it where no stage has been kept, so that nothing is left which serves nobody. */
  removeUnlessStarted(): void {
    if (exists(this.path) && !this.#hasStages()) this.remove();
  }

  #hasStages(): boolean {
    return entriesOf(this.path).some((name) => name.endsWith(STAGE_EXTENSION));
  }

  #file(stage: string): string {
    return join(this.path, stage + STAGE_EXTENSION);
  }
}

function arrayOf(file: SafetensorsFile, name: string): Arrays[string] {
  const { dtype } = file.info(name);
  if (dtype === 'F32') return file.readF32(name);
  const { buffer } = file.readBytes(name).slice();
  return dtype === 'F64' ? new Float64Array(buffer) : new Int32Array(buffer);
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
