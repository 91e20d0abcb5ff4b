/**
 * What a long run has finished so far, in a directory beside its output: each stage's tensors in one safetensors file,
 * written atomically, and the fingerprint of the run's inputs, so that it is only ever continued with the same ones.
 */

import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { CrayonError } from '../core/errors.js';
import { writeError } from './fs-errors.js';
import { isJsonObject, readJsonObject, writeJson } from './json-file.js';
import { SafetensorsFile } from './safetensors.js';
import { type TensorToWrite, writeSafetensors } from './safetensors-writer.js';

const FINGERPRINT = 'run.json';

export class WorkDirectory {
  /** True when an earlier run of the same fingerprint left something to continue from. */
  readonly resumed: boolean;

  /**
   * @param fingerprint everything that the run's result depends on
   * @param fresh discard what an earlier run left
   * @throws CrayonError `checkpoint-mismatch` when an earlier run had other inputs
   */
  constructor(
    readonly path: string,
    fingerprint: Record<string, unknown>,
    fresh: boolean,
  ) {
    const file = join(path, FINGERPRINT);
    try {
      if (fresh) rmSync(path, { recursive: true, force: true });
      this.resumed = existsSync(file);
      if (!this.resumed) {
        mkdirSync(path, { recursive: true });
        writeJson(file, fingerprint);
        return;
      }
    } catch (error) {
      throw writeError(path, error);
    }
    const found = readJsonObject(file);
    const differing = [...new Set([...Object.keys(found), ...Object.keys(fingerprint)])].filter(
      (key) => canonical(found[key]) !== canonical(fingerprint[key]),
    );
    if (differing.length > 0) {
      throw new CrayonError('checkpoint-mismatch', `${path}: left by a run with another ${differing.join(', ')}`, {
        hint: 'Repeat that run with its own options to continue it, or give --fresh to start over.',
      });
    }
  }

  /** The tensors of a finished stage, or undefined where it has not been reached. */
  load(stage: string): SafetensorsFile | undefined {
    const file = this.file(stage);
    return existsSync(file) ? SafetensorsFile.open(file) : undefined;
  }

  save(stage: string, tensors: TensorToWrite[]): void {
    writeSafetensors(this.file(stage), tensors);
  }

  /** Deletes it all: the run is complete. */
  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
  }

  private file(stage: string): string {
    return join(this.path, `${stage}.safetensors`);
  }
}

/** JSON with sorted keys, to compare values that went through a file. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_, v) =>
    isJsonObject(v) ? Object.fromEntries(Object.entries(v).sort(([a], [b]) => (a < b ? -1 : 1))) : v,
  );
}
