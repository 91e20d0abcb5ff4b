/**
 * JSON numbers as Python reads them: 2.0 is a float and 2 an int, which its templates write as they are, and whole numbers have any
 * size. And the columns of a data set, whose numbers are of one kind, as in Hugging Face's datasets.
 */

import { randomUUID } from 'node:crypto';
import { float } from '../core/jinja/values.js';

/** A record of a data set, as JSON has it; a number that was written with a point or an exponent, such as 2.0, is a Number object. */
export type DataRecord = Readonly<Record<string, unknown>>;

const TOKENS = /"(?:[^"\\]|\\.)*"|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?/g;
/** What no usual line has: a number with a point and zeros, or an exponent, or sixteen digits. */
const HINT = /\d\.0|\d[eE]|\d{16}/;
/** Before a number that travels as a text, and that no text begins with. */
const MARK = `number ${randomUUID()} `;

/**
 * The value of JSON text.
 *
 * @param parse what reads JSON
 */
export function withNumbersKept(text: string, parse: (text: string) => unknown): unknown {
  if (!HINT.test(text)) return parse(text);
  let isChanged = false;
  const marked = text.replace(TOKENS, (token) => {
    if (token.startsWith('"')) return token;
    const isWhole = /^-?\d+$/.test(token);
    if (isWhole ? Number.isSafeInteger(Number(token)) : !Number.isInteger(Number(token))) return token;
    isChanged = true;
    return JSON.stringify(MARK + token);
  });
  return isChanged ? revived(parse(marked)) : parse(text);
}

function revived(value: unknown): unknown {
  if (typeof value === 'string') {
    if (!value.startsWith(MARK)) return value;
    const token = value.slice(MARK.length);
    return /^-?\d+$/.test(token) ? BigInt(token) : float(Number(token));
  }
  if (Array.isArray(value)) return value.map(revived);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, revived(inner)]));
}

const isFloat = (value: unknown) => value instanceof Number || (typeof value === 'number' && !Number.isInteger(value));
const isObject = (value: unknown): value is DataRecord =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Number);

/** Objects whose columns have one kind of numbers each: whole numbers are floats where any number of the column is one. */
export function alike(records: readonly DataRecord[]): readonly DataRecord[] {
  let made = records;
  for (const name of new Set(records.flatMap((record) => Object.keys(record)))) {
    const values = records.map((record) => (Object.hasOwn(record, name) ? record[name] : undefined));
    const column = columnOf(values);
    if (column === values) continue;
    made = made.map((record, i) => (column[i] === undefined ? record : { ...record, [name]: column[i] }));
  }
  return made;
}

function columnOf(values: readonly unknown[]): readonly unknown[] {
  if (values.some(isFloat)) {
    if (!values.some((value) => Number.isInteger(value))) return values;
    return values.map((value) => (Number.isInteger(value) ? float(value as number) : value));
  }
  if (values.some(Array.isArray)) {
    const all = values.flatMap((value) => (Array.isArray(value) ? value : []));
    const items = columnOf(all);
    if (items === all) return values;
    let at = 0;
    return values.map((value) => {
      if (!Array.isArray(value)) return value;
      at += value.length;
      return items.slice(at - value.length, at);
    });
  }
  if (!values.some(isObject)) return values;
  const objects = values.filter(isObject);
  const inner = alike(objects);
  if (inner === objects) return values;
  let at = 0;
  return values.map((value) => (isObject(value) ? inner[at++] : value));
}
