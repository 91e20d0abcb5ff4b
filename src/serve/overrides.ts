/** A configuration's file with the command line's flags over it, and where its paths start. */

import { resolve } from 'node:path';
import { isJsonObject, type JsonObject, setKey } from '../files/json.js';
import { isPoolUrl } from '../remote/url.js';

/** Relative paths under these keys start at a folder; addresses of pools stay. */
export function withPaths(values: JsonObject, folder: string, keys: readonly string[]): JsonObject {
  const isPath = (key: string, value: unknown): value is string =>
    keys.includes(key) && typeof value === 'string' && value !== '' && !isPoolUrl(value);
  return Object.fromEntries(
    Object.entries(values).map(([key, value]) => [key, isPath(key, value) ? resolve(folder, value) : value]),
  );
}

/** `over` wins, object by object. */
export function merge(under: JsonObject, over: JsonObject): JsonObject {
  const result: JsonObject = { ...under };
  for (const [key, value] of Object.entries(over)) {
    if (value === undefined) continue;
    const before = Object.hasOwn(result, key) ? result[key] : undefined;
    setKey(result, key, isJsonObject(value) ? merge(isJsonObject(before) ? before : {}, value) : value);
  }
  return result;
}
