/**
 * What a long run has finished so far, in a directory beside its output: each stage's tensors in one safetensors file,
 * written atomically, and the fingerprint of the run's inputs, so that it is only ever continued with the same ones.
 */

import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { CrayonError, isCrayonError } from '../core/errors.js';
import { isAlive, writeFileAtomic } from '../files/atomic.js';
import { writeError } from '../files/errors.js';
import { isJsonObject, type JsonObject, readJsonObject, writeJson } from '../files/json.js';
import { SafetensorsFile } from '../safetensors/read.js';
import { type TensorToWrite, writeSafetensors } from '../safetensors/write.js';

const FINGERPRINT = 'run.json';
/** Holds the number of the process that works here. */
const OCCUPANT = 'process';
const STAGE_EXTENSION = '.safetensors';

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
      this.refuseOccupied();
      if (fresh) this.remove();
      // A run that ended before its first stage was kept binds nobody.
      this.resumed = existsSync(file) && this.hasStages();
      if (!this.resumed) {
        mkdirSync(path, { recursive: true });
        writeJson(file, fingerprint);
        this.occupy();
        return;
      }
    } catch (error) {
      throw writeError(path, error);
    }
    const found = flatten(orStartOver(() => readJsonObject(file)));
    const wanted = flatten(fingerprint);
    const differing = [...new Set([...found.keys(), ...wanted.keys()])]
      .filter((key) => found.get(key) !== wanted.get(key))
      .map((key) => `${key}${change(found.get(key), wanted.get(key))}`);
    if (differing.length > 0) {
      throw new CrayonError('checkpoint-mismatch', `${path}: left by a run with another ${differing.join(', ')}`, {
        hint: 'Repeat that run with its own options to continue it, or give --fresh to start over.',
      });
    }
    this.occupy();
  }

  /** The tensors of a finished stage, or undefined where it has not been reached. */
  load(stage: string): SafetensorsFile | undefined {
    const file = this.file(stage);
    return existsSync(file) ? orStartOver(() => SafetensorsFile.open(file)) : undefined;
  }

  save(stage: string, tensors: TensorToWrite[]): void {
    writeSafetensors(this.file(stage), tensors);
  }

  /** Lets the next run in, now that this one has failed. */
  release(): void {
    rmSync(join(this.path, OCCUPANT), { force: true });
  }

  /** Deletes it all: the run is complete. */
  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
  }

  /** After a failure: deletes it where no stage has been kept, so that nothing is left which serves nobody. */
  removeUnlessStarted(): void {
    if (existsSync(this.path) && !this.hasStages()) this.remove();
  }

  private occupy(): void {
    writeFileAtomic(join(this.path, OCCUPANT), `${process.pid}\n`);
  }

  private refuseOccupied(): void {
    const file = join(this.path, OCCUPANT);
    const pid = existsSync(file) ? Number.parseInt(readFileSync(file, 'utf8'), 10) : Number.NaN;
    if (!(pid > 0) || !isAlive(pid)) return; // what a killed run leaves
    throw new CrayonError('output-exists', `${this.path}: process ${pid} is at work on the same output`, {
      hint: `Wait for it, or choose another output. If process ${pid} is another program, delete ${file}.`,
    });
  }

  private hasStages(): boolean {
    return readdirSync(this.path).some((name) => name.endsWith(STAGE_EXTENSION));
  }

  private file(stage: string): string {
    return join(this.path, stage + STAGE_EXTENSION);
  }
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

/** Settings by their paths, `training.epochs`, as the JSON texts they have in a file; what is undefined is left out. */
function flatten(settings: JsonObject, prefix = ''): Map<string, string> {
  const flat = new Map<string, string>();
  for (const [key, value] of Object.entries(settings)) {
    if (isJsonObject(value)) for (const [path, text] of flatten(value, `${prefix}${key}.`)) flat.set(path, text);
    else if (value !== undefined) flat.set(prefix + key, JSON.stringify(value));
  }
  return flat;
}

/** ` (0, now 7)`; nothing for digests and other long values, which tell a reader nothing. */
function change(before = 'none', now = 'none'): string {
  return Math.max(before.length, now.length) > 40 ? '' : ` (${before}, now ${now})`;
}
