/**
 * What a long run leaves so that it can be stopped and gone on with: the fingerprint of what its results depend on, and a log of
 * records.
 */

import { CrayonError } from '../core/errors.js';
import { abridge } from '../core/format.js';
import { LIMITS } from '../core/limits.js';
import { writeFileAtomic } from './atomic.js';
import { appendText, exists, readSmallFile } from './io.js';
import { decodeUtf8, isJsonObject, type JsonObject, jsonValue } from './json.js';

/**
 * Results are only gone on with by a run of the same inputs: the fingerprint of those is written beside them.
 *
 * @param path where the earlier run left its results
 * @param found its fingerprint
 * @param wanted that of the run which would go on
 * @param hint how to get out
 * @throws CrayonError `checkpoint-mismatch` naming every setting that differs, with both values where they are short
 */
export function refuseOtherRun(path: string, found: JsonObject, wanted: JsonObject, hint: string): void {
  const before = flatten(found);
  const now = flatten(wanted);
  const differing = [...new Set([...before.keys(), ...now.keys()])]
    .filter((key) => before.get(key) !== now.get(key))
    .map((key) => `${key}${change(before.get(key), now.get(key))}`);
  if (differing.length === 0) return;
  throw new CrayonError('checkpoint-mismatch', `${path}: left by a run with another ${abridge(differing, 20, ', ')}`, {
    hint,
  });
}

/** Settings by their paths, `training.epochs`, as the JSON texts they have in a file; what is undefined is left out. */
function flatten(settings: JsonObject, prefix = ''): Map<string, string> {
  const flat = new Map<string, string>();
  for (const [key, value] of Object.entries(settings)) {
    if (isJsonObject(value)) for (const [path, text] of flatten(value, `${prefix}${key}.`)) flat.set(path, text);
    else if (value !== undefined) flat.set(prefix + key, JSON.stringify(value, byName));
  }
  return flat;
}

/** The order in which an object's keys were written says nothing. */
function byName(_key: string, value: unknown): unknown {
  return isJsonObject(value) ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))) : value;
}

/** ` (0, now 7)`; nothing for digests and other long values, which tell a reader nothing. */
function change(before = 'none', now = 'none'): string {
  return Math.max(before.length, now.length) > 40 ? '' : ` (${before}, now ${now})`;
}

/**
 * A file of JSON lines that grows by one record at a time. The first line is the fingerprint of the run's inputs: records of
 * other inputs are not mixed in.
 */
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
    const isNew = fresh || !exists(path);
    const text = isNew ? '' : decodeUtf8(readSmallFile(path, LIMITS.recordLogBytes), path);
    this.earlier = this.#read(text, fingerprint);
    if (!isNew && text !== '' && text.endsWith('\n')) return; // another process may be adding to it
    // Written anew, so that a line that was cut short does not stay in the middle.
    const lines = [fingerprint, ...this.earlier].map((line) => `${JSON.stringify(line)}\n`);
    writeFileAtomic(path, lines.join(''));
  }

  append(record: object): void {
    appendText(this.path, `${JSON.stringify(record)}\n`);
  }

  #read(text: string, fingerprint: JsonObject): JsonObject[] {
    const lines = text.split('\n');
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
    const value = jsonValue(line);
    if (isJsonObject(value)) return value;
  } catch {
    // Said below.
  }
  throw new CrayonError('json-invalid', `${where}: expected a JSON object of an earlier run`, {
    hint: 'Give --fresh to start over, or --records to use another file.',
  });
}
