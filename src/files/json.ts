/** JSON files: bounded, strict UTF-8, and errors that name the file. */

import { CrayonError, type ErrorCode, messageOf } from '../core/errors.js';
import { LIMITS } from '../core/limits.js';
import { writeFileAtomic } from './atomic.js';
import { exists, readSmallFile } from './io.js';

export type JsonObject = { [key: string]: unknown };

/** Decodes UTF-8, refusing bytes that are none. A byte order mark is dropped, as JSON parsers of other languages do. */
export function decodeUtf8(bytes: Uint8Array, path: string, code: ErrorCode = 'json-invalid'): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (error) {
    throw new CrayonError(code, `${path}: not valid UTF-8`, { cause: error });
  }
}

/** Parses JSON text that came from `path`. */
export function parseJson(text: string, path: string, code: ErrorCode = 'json-invalid'): unknown {
  if (isTooDeep(text)) throw new CrayonError(code, `${path}: nested more than ${LIMITS.nesting} levels deep`);
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new CrayonError(code, `${path}: not valid JSON (${messageOf(error)})`, {
      cause: error,
    });
  }
}

/** Whether JSON text, valid or not, opens more brackets within each other than anything that we look through may have. */
function isTooDeep(text: string): boolean {
  let depth = 0;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c === 0x22 /* " */) {
      while (++i < text.length && text.charCodeAt(i) !== 0x22) if (text.charCodeAt(i) === 0x5c /* \ */) i++;
    } else if (c === 0x7b /* { */ || c === 0x5b /* [ */) {
      if (++depth > LIMITS.nesting) return true;
    } else if (c === 0x7d /* } */ || c === 0x5d /* ] */) depth--;
  }
  return false;
}

/** Reads a JSON file of at most `maxBytes`. */
export function readJson(path: string, maxBytes = LIMITS.jsonBytes): unknown {
  return parseJson(decodeUtf8(readSmallFile(path, maxBytes), path), path);
}

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Reads a JSON file whose top level is an object. */
export function readJsonObject(path: string, maxBytes = LIMITS.jsonBytes): JsonObject {
  const value = readJson(path, maxBytes);
  if (!isJsonObject(value)) throw new CrayonError('json-invalid', `${path}: expected a JSON object at the top level`);
  return value;
}

/** A JSON object, or undefined where the file does not exist. */
export function readOptionalJson(path: string): JsonObject | undefined {
  return exists(path) ? readJsonObject(path) : undefined;
}

/** Writes JSON, indented by two and ended by a line feed. */
export function writeJson(path: string, value: unknown): void {
  writeFileAtomic(path, `${JSON.stringify(value, null, 2)}\n`);
}

/**
 * The first key that occurs twice in one object of a valid JSON text, or undefined. `JSON.parse` keeps the last of two
 * equal keys in silence, which lets two readers of one file see two different things.
 */
export function findDuplicateKey(json: string): string | undefined {
  const open: Array<Set<string> | null> = []; // per nesting level: the keys so far, or null for an array
  let expectsKey = false;
  for (let i = 0; i < json.length; i++) {
    const c = json.charCodeAt(i);
    if (c === 0x7b /* { */) {
      open.push(new Set());
      expectsKey = true;
    } else if (c === 0x5b /* [ */) {
      open.push(null);
      expectsKey = false;
    } else if (c === 0x7d /* } */ || c === 0x5d /* ] */) {
      open.pop();
      expectsKey = false;
    } else if (c === 0x2c /* , */) {
      expectsKey = open.at(-1) !== null;
    } else if (c === 0x22 /* " */) {
      const start = i++;
      while (json.charCodeAt(i) !== 0x22) i += json.charCodeAt(i) === 0x5c /* \ */ ? 2 : 1;
      if (!expectsKey) continue;
      const key: string = JSON.parse(json.slice(start, i + 1));
      const keys = open.at(-1)!;
      if (keys.has(key)) return key;
      keys.add(key);
      expectsKey = false;
    }
  }
  return undefined;
}
