/**
 * A file of JSON lines that grows by one record at a time, so that a stopped run continues where it was. The first line is
 * the fingerprint of the run's inputs: records of other inputs are not mixed in.
 */

import { CrayonError } from '../core/errors.js';
import { writeFileAtomic } from './atomic.js';
import { refuseOtherRun } from './fingerprint.js';
import { appendText, readSmallFile } from './io.js';
import { decodeUtf8, isJsonObject, type JsonObject } from './json.js';
import { exists } from './paths.js';

const MAX_BYTES = 2 ** 28;

export class RecordLog {
  /** records of earlier runs, in the order in which they were written */
  readonly earlier: JsonObject[];

  /**
   * Opens the file, or begins it.
   *
   * @param fresh forget what it holds
   * @throws CrayonError `checkpoint-mismatch` naming the inputs that differ, `json-invalid` for a file of another kind
   */
  constructor(
    readonly path: string,
    fingerprint: JsonObject,
    { fresh = false }: { fresh?: boolean } = {},
  ) {
    this.earlier = fresh || !exists(path) ? [] : this.#read(fingerprint);
    // Written anew, so that a line that was cut short does not stay in the middle.
    const lines = [fingerprint, ...this.earlier].map((line) => `${JSON.stringify(line)}\n`);
    writeFileAtomic(path, lines.join(''));
  }

  append(record: object): void {
    appendText(this.path, `${JSON.stringify(record)}\n`);
  }

  #read(fingerprint: JsonObject): JsonObject[] {
    const lines = decodeUtf8(readSmallFile(this.path, MAX_BYTES), this.path).split('\n');
    // What follows the last line feed was cut short by the end of its run.
    const [found, ...records] = lines.slice(0, -1).map((line, i) => parseLine(line, `${this.path}:${i + 1}`));
    if (found === undefined) return [];
    const hint = 'Give --fresh to start over, or --records to keep these records and begin another file.';
    refuseOtherRun(this.path, found, fingerprint, hint);
    return records;
  }
}

function parseLine(line: string, where: string): JsonObject {
  try {
    const value: unknown = JSON.parse(line);
    if (isJsonObject(value)) return value;
  } catch {
    // Said below.
  }
  throw new CrayonError('json-invalid', `${where}: expected a JSON object of an earlier run`, {
    hint: 'Give --fresh to start over, or --records to use another file.',
  });
}
