/**
 * Checks of values read from JSON and YAML: small functions that compose, and collect every problem instead of the first.
 */

import { CrayonError, type ErrorCode } from '../core/errors.js';
import { nearestName } from '../core/nearest-name.js';
import { isJsonObject } from './json.js';

/** Adds a sentence to `problems` for everything wrong with `value`, which stands at `where`, e.g. `clusters[2].size`. */
export type Schema = (value: unknown, where: string, problems: string[]) => void;

const MAX_SHOWN = 20;

/**
 * Checks a value read from `path` and returns it with the type that the schema stands for.
 *
 * @throws CrayonError `code` naming all problems
 */
export function checked<T>(value: unknown, schema: Schema, code: ErrorCode, path: string): T {
  const problems: string[] = [];
  schema(value, '', problems);
  if (problems.length === 0) return value as T;
  const rest = problems.length > MAX_SHOWN ? `; and ${problems.length - MAX_SHOWN} more` : '';
  throw new CrayonError(code, `${path}: ${problems.slice(0, MAX_SHOWN).join('; ')}${rest}`);
}

/** One value that passes `isValid`; `expected` ends the sentence "expected ...". */
export function value(isValid: (value: unknown) => boolean, expected: string): Schema {
  return (found, where, problems) => {
    if (!isValid(found)) problems.push(`${where || 'top level'} is ${shown(found)}, expected ${expected}`);
  };
}

export const text = value((x) => typeof x === 'string' && x !== '', 'text');
export const flag = value((x) => typeof x === 'boolean', 'true or false');
export const finite = value(Number.isFinite, 'a finite number');
export const positive = value((x) => Number.isFinite(x) && (x as number) > 0, 'a number above 0');
export const sha256Text = value((x) => typeof x === 'string' && /^[0-9a-f]{64}$/.test(x), '64 hexadecimal digits');

/** A whole number from `min`. */
export function whole(min: number): Schema {
  return value((x) => Number.isSafeInteger(x) && (x as number) >= min, `a whole number from ${min}`);
}

export function oneOf(...choices: ReadonlyArray<string | number>): Schema {
  return value((x) => choices.includes(x as string | number), choices.map((x) => JSON.stringify(x)).join(' or '));
}

export function nullable(schema: Schema): Schema {
  return (found, where, problems) => {
    if (found !== null) schema(found, where, problems);
  };
}

/** For keys of an object that may be absent. */
export function optional(schema: Schema): Schema {
  return (found, where, problems) => {
    if (found !== undefined) schema(found, where, problems);
  };
}

/** Any one of several schemas. */
export function either(...schemas: Schema[]): Schema {
  return (found, where, problems) => {
    const attempts = schemas.map((schema) => {
      const own: string[] = [];
      schema(found, where, own);
      return own;
    });
    if (!attempts.some((own) => own.length === 0)) problems.push(attempts.map((own) => own[0]).join(', or '));
  };
}

export function listOf(schema: Schema, length?: number): Schema {
  return (found, where, problems) => {
    if (!Array.isArray(found)) problems.push(`${where || 'top level'} is ${shown(found)}, expected a list`);
    else if (length !== undefined && found.length !== length) {
      problems.push(`${where} has ${found.length} items, expected ${length}`);
    } else for (const [i, item] of found.entries()) schema(item, `${where}[${i}]`, problems);
  };
}

/** An object with any keys. */
export function recordOf(schema: Schema): Schema {
  return (found, where, problems) => {
    if (!isJsonObject(found)) problems.push(`${where || 'top level'} is ${shown(found)}, expected an object`);
    else for (const [key, item] of Object.entries(found)) schema(item, join(where, key), problems);
  };
}

/** An object with these keys. With `strict`, other keys are problems too: in a file written by hand they are typos. */
export function object(fields: Readonly<Record<string, Schema>>, { strict = false } = {}): Schema {
  return (found, where, problems) => {
    if (!isJsonObject(found)) {
      problems.push(`${where || 'top level'} is ${shown(found)}, expected an object`);
      return;
    }
    for (const [key, schema] of Object.entries(fields)) schema(found[key], join(where, key), problems);
    if (!strict) return;
    for (const key of Object.keys(found)) {
      if (!Object.hasOwn(fields, key)) {
        const near = nearestName(key, Object.keys(fields));
        const help = near === undefined ? `expected ${Object.keys(fields).join(', ')}` : `did you mean ${near}?`;
        problems.push(`${join(where, key)} is not a known key, ${help}`);
      }
    }
  };
}

function join(where: string, key: string): string {
  return where === '' ? key : `${where}.${key}`;
}

function shown(found: unknown): string {
  const json = JSON.stringify(found) ?? 'missing';
  return json.length > 60 ? `${json.slice(0, 60)}...` : json;
}
