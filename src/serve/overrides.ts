/** A configuration's file with the command line's flags over it, and where its paths start. */

import { resolve } from 'node:path';
import { isJsonObject, type JsonObject, setKey } from '../files/json.js';
import { type Source, valueAt } from '../files/schema.js';
import { isPoolUrl } from '../remote/url.js';

export interface Overlay extends Omit<Source, 'code'> {
  /** where the file's relative paths start */
  folder: string;
  /** the command line's flags; their paths start at the working directory */
  overrides: JsonObject;
  /** whose values are paths */
  pathKeys: readonly string[];
}

/** What a file and the flags over it say, and where that is to be named. */
export function overlaid(yaml: unknown, { where, lineOf, folder, overrides, pathKeys }: Overlay) {
  const source: Source = {
    where,
    code: 'config-invalid',
    // What a flag said stands on no line.
    lineOf: (path) => (valueAt(overrides, path) === undefined ? lineOf?.(path) : undefined),
  };
  const whole = isJsonObject(yaml)
    ? merge(withPaths(yaml, folder, pathKeys), withPaths(overrides, '.', pathKeys))
    : yaml;
  return { whole, source };
}

/** Relative paths under these keys start at a folder; addresses of pools stay. */
function withPaths(values: JsonObject, folder: string, keys: readonly string[]): JsonObject {
  const isPath = (key: string, value: unknown): value is string =>
    keys.includes(key) && typeof value === 'string' && value !== '' && !isPoolUrl(value);
  return Object.fromEntries(
    Object.entries(values).map(([key, value]) => [key, isPath(key, value) ? resolve(folder, value) : value]),
  );
}

/** `over` wins, object by object. */
function merge(under: JsonObject, over: JsonObject): JsonObject {
  const result: JsonObject = { ...under };
  for (const [key, value] of Object.entries(over)) {
    if (value === undefined) continue;
    const before = Object.hasOwn(result, key) ? result[key] : undefined;
    setKey(result, key, isJsonObject(value) ? merge(isJsonObject(before) ? before : {}, value) : value);
  }
  return result;
}
