/** JSON files: bounded, strict UTF-8, and errors that name the file. */

import { CrayonError, type ErrorCode, messageOf } from '../core/errors.js';
import { shown } from '../core/format.js';
import { LIMITS } from '../core/limits.js';
import { writeFileAtomic } from './atomic.js';
import { exists, readSmallFile } from './io.js';

export type JsonObject = { [key: string]: unknown };

/** Decodes UTF-8, refusing bytes that are none. A byte order mark is dropped, as JSON parsers of other languages do. */
export function decodeUtf8(bytes: Uint8Array, path: string, code: ErrorCode = 'json-invalid'): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (error) {
    const isUtf16 = [0xfeff, 0xfffe].includes((bytes[0]! << 8) | bytes[1]!);
    throw new CrayonError(code, `${path}: not valid UTF-8${isUtf16 ? ' (its first two bytes say UTF-16)' : ''}`, {
      hint: 'Save it in UTF-8.',
      cause: error,
    });
  }
}

/** What JSON text has, valid or not, outside its strings. */
interface Outline {
  /** the most brackets within each other, counted to one beyond the limit */
  depth: number;
  /** keys of objects, objects and lists together */
  parts: number;
  keys: number;
}

/** Looks through JSON text before it is parsed: what it is parsed into may be thirty times as large, and as deep as the text is long. */
function outlineOf(text: string): Outline {
  let [depth, deepest, keys, brackets] = [0, 0, 0, 0];
  for (let i = 0; i < text.length && deepest <= LIMITS.nesting; i++) {
    const c = text.charCodeAt(i);
    if (c === 0x22 /* " */) {
      i = endOfString(text, i);
    } else if (c === 0x3a /* : */) {
      keys++;
    } else if (c === 0x7b /* { */ || c === 0x5b /* [ */) {
      brackets++;
      if (++depth > deepest) deepest = depth;
    } else if (c === 0x7d /* } */ || c === 0x5d /* ] */) depth--;
  }
  return { depth: deepest, parts: brackets + keys, keys };
}

/** Where the string that begins at a quote ends: the other quote's place, or the end of the text. */
function endOfString(text: string, start: number): number {
  let i = start + 1;
  while (i < text.length && text.charCodeAt(i) !== 0x22) i += text.charCodeAt(i) === 0x5c /* \ */ ? 2 : 1;
  return i;
}

/**
 * JSON text of anywhere as a value: of the wire, a file, a line of one. Throws a plain Error for text that is no JSON, or more than
 * can be looked through.
 *
 * @param refuseTwice whether two equal keys of one object are refused; the last one counts otherwise, as in Python
 */
export function jsonValue(text: string, { refuseTwice = false }: { refuseTwice?: boolean } = {}): unknown {
  const { depth, parts, keys } = outlineOf(text);
  if (depth > LIMITS.nesting) throw new Error(`nested more than ${LIMITS.nesting} levels deep`);
  if (parts > LIMITS.jsonParts) throw new Error(`more than ${LIMITS.jsonParts} keys, objects and lists`);
  const value: unknown = JSON.parse(text);
  if (refuseTwice && keys > 0 && keysOf(value) !== keys) {
    throw new Error(`the key ${shown(findDuplicateKey(text))} stands twice in one object`);
  }
  return value;
}

function keysOf(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0;
  let count = Array.isArray(value) ? 0 : Object.keys(value).length;
  for (const inner of Object.values(value)) if (typeof inner === 'object') count += keysOf(inner);
  return count;
}

/**
 * As `jsonValue`, of what Python may have written: `NaN`, `Infinity` and `-Infinity` are numbers.
 *
 * @param asRecord equal keys are refused
 */
export function pythonJsonValue(text: string, { asRecord = false }: { asRecord?: boolean } = {}): unknown {
  const rules = { refuseTwice: asRecord };
  // Rare, and looked for by the engine's own search: a usual text is parsed as it is, one that has the words in strings alone too.
  const hasWords = /NaN|Infinity/.test(text);
  try {
    return jsonValue(text, rules);
  } catch (error) {
    if (!hasWords || !(error instanceof SyntaxError)) throw error;
  }
  const parts: string[] = [];
  for (let from = 0; from < text.length; ) {
    const quote = text.indexOf('"', from);
    const start = quote === -1 ? text.length : quote;
    const end = endOfString(text, start);
    const plain = text
      .slice(from, start)
      .replace(/(?<![\w.+-])(-?)Infinity(?!\w)/g, '$11e999')
      .replace(/(?<![\w.+-])NaN(?!\w)/g, NAN);
    parts.push(plain, text.slice(start, end + 1));
    from = end + 1;
  }
  const value = jsonValue(parts.join(''), rules);
  return parts.some((part) => part.includes(NAN)) ? withNaN(value) : value;
}

/** Stands for NaN, which JSON has not, until the text is parsed. */
const NAN = JSON.stringify('\0NaN');

function withNaN(value: unknown): unknown {
  if (value === JSON.parse(NAN)) return Number.NaN;
  if (typeof value !== 'object' || value === null) return value;
  for (const [key, inner] of Object.entries(value)) setKey(value, key, withNaN(inner));
  return value;
}

/** What is wrong with a text that `jsonValue` refused. */
export function jsonProblem(error: unknown): string {
  return error instanceof SyntaxError ? `not valid JSON (${error.message})` : messageOf(error);
}

/** Parses JSON text that came from `path`, which Python may have written. */
export function parseJson(text: string, path: string, code: ErrorCode = 'json-invalid'): unknown {
  try {
    return pythonJsonValue(text);
  } catch (error) {
    throw new CrayonError(code, `${path}: ${jsonProblem(error)}`, { cause: error });
  }
}

/** Reads a JSON file of at most `maxBytes`. */
export function readJson(path: string, maxBytes = LIMITS.jsonBytes): unknown {
  return parseJson(decodeUtf8(readSmallFile(path, maxBytes), path), path);
}

/** Sets a key of an object that a file describes: one of the name `__proto__` is a key like any other. */
export function setKey(object: object, key: string, value: unknown): void {
  if (key === '__proto__')
    Object.defineProperty(object, key, { value, enumerable: true, configurable: true, writable: true });
  else (object as JsonObject)[key] = value;
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
      const start = i;
      i = endOfString(json, i);
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
