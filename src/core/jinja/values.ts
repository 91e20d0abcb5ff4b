/**
 * Python's values in JavaScript, and what Python does with them: text, truth, equality, order, items and slices.
 *
 * | Python | here |
 * |---|---|
 * | None, bool, str | null, boolean, string |
 * | int | number that is a safe integer, else bigint |
 * | float | Number object, which a structured clone keeps |
 * | list, tuple, dict | array, Tuple, Map |
 */

import { LIMITS } from '../limits.js';
import { floatText } from './float-text.js';
import { PYTHON_SPACE } from './lexer.js';

export class Tuple {
  constructor(
    readonly items: readonly unknown[],
    /** Of a namedtuple. */
    readonly names: readonly string[] = [],
  ) {}
}

/** An iterator, whose items come once: of a generator, of `map` and the like. */
export class Once implements Iterable<unknown> {
  readonly #items: Iterator<unknown>;
  constructor(items: Iterable<unknown>) {
    this.#items = items[Symbol.iterator]();
  }
  [Symbol.iterator](): Iterator<unknown> {
    return { next: () => this.#items.next() };
  }
}

/** `dict.keys()`, `.values()` and `.items()`. */
export class View {
  constructor(
    readonly name: string,
    readonly items: readonly unknown[],
  ) {}
}

export class Range {
  readonly length: number;
  constructor(
    readonly start: number,
    readonly stop: number,
    readonly step: number,
  ) {
    this.length = Math.max(0, Math.ceil((stop - start) / step));
  }
  at(index: number): number {
    return this.start + index * this.step;
  }
}

/** Text that needs no escaping in HTML, which `tojson` gives; what is done to it other than writing it is refused. */
export class Markup {
  constructor(readonly text: string) {}
}

/** An object that a template makes: a namespace, a loop, a cycler. */
export class Members {
  constructor(
    readonly name: string,
    readonly members: Map<string, unknown>,
    /** Whether a template may set members. */
    readonly isOpen = false,
    readonly call?: Callable,
  ) {}
}

export class Undefined {
  constructor(
    readonly problem: string,
    /** Whether it may not even be written, as in jinja2's StrictUndefined. */
    readonly isStrict: boolean,
  ) {}
}

export type Named = ReadonlyMap<string, unknown>;
export type Callable = (args: readonly unknown[], named: Named) => unknown;
export class Slice {
  constructor(readonly parts: readonly unknown[]) {}
}

/** What a template may not do, as a message for who wrote it. */
export class TemplateError extends Error {}

export function refuse(problem: string): never {
  throw new TemplateError(problem);
}

/** Ints and floats of JavaScript's own values: a number that is no integer is a float. */
export function fromJson(value: unknown): unknown {
  if (typeof value === 'number') return Number.isSafeInteger(value) ? value : float(value);
  if (Array.isArray(value)) return value.map(fromJson);
  if (typeof value !== 'object' || value === null || value instanceof Number) return value ?? null;
  return new Map(Object.entries(value).map(([key, item]) => [key, fromJson(item)]));
}

export const float = (value: number): number => Object(value) as number;
export const isFloat = (value: unknown): value is number => value instanceof Number;
export const isInt = (value: unknown): value is number | bigint | boolean =>
  typeof value === 'number' || typeof value === 'bigint' || typeof value === 'boolean';
export const isNumber = (value: unknown) => isInt(value) || isFloat(value);

const TYPES: ReadonlyArray<[string, (value: unknown) => boolean]> = [
  ['str', (value) => typeof value === 'string'],
  ['NoneType', (value) => value === null],
  ['bool', (value) => typeof value === 'boolean'],
  ['int', isInt],
  ['float', isFloat],
  ['list', Array.isArray],
  ['tuple', (value) => value instanceof Tuple],
  ['dict', (value) => value instanceof Map],
  ['range', (value) => value instanceof Range],
  ['generator', (value) => value instanceof Once],
  ['Markup', (value) => value instanceof Markup],
  ['slice', (value) => value instanceof Slice],
  ['function', (value) => typeof value === 'function'],
];

export function typeName(value: unknown): string {
  if (value instanceof Members || value instanceof View) return value.name;
  return TYPES.find(([, isIt]) => isIt(value))?.[0] ?? 'undefined';
}

/** Refuses what is undefined. */
export function defined(value: unknown): unknown {
  return value instanceof Undefined ? refuse(value.problem) : value;
}

// Text

/** `str(value)` */
export function str(value: unknown): string {
  if (typeof value === 'string') return value;
  if (value instanceof Markup) return value.text;
  if (value instanceof Undefined && !value.isStrict) return '';
  return repr(value);
}

/** `repr(value)` */
export function repr(value: unknown): string {
  if (typeof value === 'string') return quoted(value);
  if (value === null) return 'None';
  if (typeof value === 'boolean') return value ? 'True' : 'False';
  if (typeof value === 'number' || typeof value === 'bigint') return String(value);
  if (isFloat(value)) return floatText(Number(value));
  if (Array.isArray(value)) return `[${value.map(repr).join(', ')}]`;
  if (value instanceof Tuple && value.names.length === 0)
    return `(${value.items.map(repr).join(', ')}${value.items.length === 1 ? ',' : ''})`;
  if (value instanceof Map) return `{${[...value].map(([key, item]) => `${repr(key)}: ${repr(item)}`).join(', ')}}`;
  if (value instanceof View) return `${value.name}(${repr(value.items)})`;
  if (value instanceof Range) {
    const { start, stop, step } = value;
    return `range(${step === 1 ? [start, stop].join(', ') : [start, stop, step].join(', ')})`;
  }
  defined(value);
  return refuse(`a ${typeName(value)} is written as text`);
}

const CONTROLS: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t', '\\': '\\\\' };
const NOT_PRINTABLE = /[\\\p{C}\p{Z}]/gu;

function quoted(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  const escaped = text.replace(NOT_PRINTABLE, (character) => {
    if (character === ' ') return ' ';
    const code = character.codePointAt(0)!;
    const hex = (digits: number) => code.toString(16).padStart(digits, '0');
    return CONTROLS[character] ?? (code < 0x100 ? `\\x${hex(2)}` : code < 0x10000 ? `\\u${hex(4)}` : `\\U${hex(8)}`);
  });
  return quote + (quote === "'" ? escaped.replaceAll("'", "\\'") : escaped) + quote;
}

// Truth, equality, order

export function truth(value: unknown): boolean {
  if (typeof value === 'string') return value !== '';
  if (Array.isArray(value)) return value.length > 0;
  if (value === null) return false;
  if (isFloat(value)) return Number(value) !== 0;
  if (value instanceof Tuple || value instanceof View) return value.items.length > 0;
  if (value instanceof Map) return value.size > 0;
  if (value instanceof Range) return value.length > 0;
  if (value instanceof Markup) return value.text !== '';
  if (value instanceof Undefined) return value.isStrict ? refuse(value.problem) : false;
  return Boolean(value) || typeof value === 'object';
}

/** Numbers of either kind as what JavaScript compares exactly. */
const comparable = (value: unknown): number | bigint =>
  typeof value === 'bigint' ? value : Number(value as number | boolean);

export function equal(a: unknown, b: unknown): boolean {
  if (a === b) return !(a instanceof Undefined && a.isStrict) || defined(a) !== a;
  for (const value of [a, b]) if (value instanceof Undefined && value.isStrict) defined(value);
  if (a instanceof Undefined && b instanceof Undefined) return true;
  if (isNumber(a) && isNumber(b)) return order(a, b) === 0;
  if (Array.isArray(a) && Array.isArray(b)) return equalLists(a, b);
  if (a instanceof Tuple && b instanceof Tuple) return equalLists(a.items, b.items);
  if (a instanceof Map && b instanceof Map) {
    return a.size === b.size && [...a].every(([key, item]) => hasKey(b, key) && equal(item, getKey(b, key)));
  }
  if (a instanceof Range && b instanceof Range) return equalLists(listOf(a), listOf(b));
  for (const value of [a, b]) if (value instanceof Markup) refuse('a Markup is compared');
  return false;
}

function equalLists(a: readonly unknown[], b: readonly unknown[]): boolean {
  return a.length === b.length && a.every((item, i) => equal(item, b[i]));
}

/** Below 0, 0 or above 0, as a sort needs it; refused where Python has no order. */
export function order(a: unknown, b: unknown, operator = '<'): number {
  if (typeof a === 'string' && typeof b === 'string') return orderTexts(a, b);
  if (isNumber(a) && isNumber(b)) {
    const [x, y] = [comparable(a), comparable(b)];
    return x < y ? -1 : x > y ? 1 : x === y || Number(x) === Number(y) ? 0 : Number.NaN;
  }
  const [left, right] = Array.isArray(a) && Array.isArray(b) ? [a, b] : [itemsOf(a), itemsOf(b)];
  if (left !== undefined && right !== undefined) {
    const i = left.findIndex((item, i) => i >= right.length || !equal(item, right[i]));
    if (i === -1) return left.length - right.length;
    return i >= right.length ? 1 : order(left[i], right[i], operator);
  }
  for (const value of [a, b]) defined(value);
  return refuse(`'${operator}' not supported between ${typeName(a)} and ${typeName(b)}`);
}

const itemsOf = (value: unknown) => (value instanceof Tuple ? value.items : undefined);
const SURROGATE = /[\ud800-\udfff]/;

/** By code points, where JavaScript compares UTF-16 units. */
function orderTexts(a: string, b: string): number {
  if (a === b) return 0;
  if (!SURROGATE.test(a) && !SURROGATE.test(b)) return a < b ? -1 : 1;
  const [x, y] = [[...a], [...b]];
  const i = x.findIndex((character, i) => character !== y[i]);
  if (i === -1 || i >= y.length) return x.length - y.length;
  return x[i]!.codePointAt(0)! - y[i]!.codePointAt(0)!;
}

// Dictionaries: 1, 1.0 and True are one key

function keyOf(map: Named | Map<unknown, unknown>, key: unknown): unknown {
  if (typeof key === 'string' || key === null) return key;
  if (Array.isArray(key) || key instanceof Map) refuse(`a ${typeName(key)} as a key`);
  for (const candidate of map.keys()) if (typeof candidate !== 'string' && equal(candidate, key)) return candidate;
  return key;
}

export const hasKey = (map: Map<unknown, unknown>, key: unknown): boolean => map.has(keyOf(map, defined(key)));
export const getKey = (map: Map<unknown, unknown>, key: unknown): unknown => map.get(keyOf(map, key));
export const setKey = (map: Map<unknown, unknown>, key: unknown, value: unknown) =>
  map.set(keyOf(map, defined(key)), value);

// Items

/** Its characters: code points, as Python counts. */
export function characters(text: string): string[] {
  return SURROGATE.test(text) ? [...text] : text.split('');
}

/** All items of what can be iterated over. */
export function listOf(value: unknown): unknown[] {
  if (Array.isArray(value)) return value;
  if (typeof value === 'string') return characters(value);
  if (value instanceof Tuple || value instanceof View) return [...value.items];
  if (value instanceof Map) return [...value.keys()];
  if (value instanceof Once) return [...value];
  if (value instanceof Range) {
    if (value.length > LIMITS.rangeNumbers) refuse(`range() of ${value.length} numbers`);
    return Array.from({ length: value.length }, (_, i) => value.at(i));
  }
  if (value instanceof Undefined && !value.isStrict) return [];
  defined(value);
  return refuse(`a ${typeName(value)} has no items to go through`);
}

/** `len(value)` */
export function sizeOf(value: unknown): number {
  if (typeof value === 'string') return SURROGATE.test(value) ? [...value].length : value.length;
  if (Array.isArray(value)) return value.length;
  if (value instanceof Tuple || value instanceof View) return value.items.length;
  if (value instanceof Map) return value.size;
  if (value instanceof Range) return value.length;
  if (value instanceof Undefined && !value.isStrict) return 0;
  defined(value);
  return refuse(`a ${typeName(value)} has no length`);
}

/** `item in value` */
export function contains(value: unknown, item: unknown): boolean {
  if (typeof value === 'string') {
    if (typeof item === 'string') return value.includes(item);
    defined(item);
    return refuse(`a ${typeName(item)} in a text`);
  }
  if (value instanceof Map) return hasKey(value, item);
  return listOf(value).some((other) => equal(other, item));
}

/** `value[index]` of what has positions; undefined where it has no such position. */
export function itemAt(value: unknown, index: unknown): unknown {
  if (index instanceof Slice) return sliced(value, index);
  if (!isInt(index)) return undefined;
  const length = sizeOf(value);
  const at = Number(index) < 0 ? Number(index) + length : Number(index);
  if (at < 0 || at >= length) return undefined;
  return value instanceof Range ? value.at(at) : (listOf(value)[at] as unknown);
}

function sliced(value: unknown, { parts }: Slice): unknown {
  for (const part of parts) if (part !== null && !isInt(part)) refuse(`a slice by ${typeName(defined(part))}`);
  const [from = null, to = null, by = null] = parts.map((part) => (part === null ? null : Number(part)));
  const step = by ?? 1;
  if (step === 0) refuse('a slice of step 0');
  const all = value instanceof Range ? value : listOf(value);
  const limit = (index: number | null, otherwise: number) => {
    if (index === null) return otherwise;
    const at = index < 0 ? index + all.length : index;
    return Math.min(Math.max(at, step < 0 ? -1 : 0), step < 0 ? all.length - 1 : all.length);
  };
  const start = limit(from, step < 0 ? all.length - 1 : 0);
  const stop = limit(to, step < 0 ? -1 : all.length);
  if (all instanceof Range) return new Range(all.at(start), all.at(stop), all.step * step);
  const items: unknown[] = [];
  for (let i = start; step < 0 ? i > stop : i < stop; i += step) items.push(all[i]);
  if (typeof value === 'string') return items.join('');
  return value instanceof Tuple ? new Tuple(items) : items;
}

const ENDS = { left: new RegExp(`^[${PYTHON_SPACE}]+`), right: new RegExp(`[${PYTHON_SPACE}]+$`) };

/** `str.strip()` and its kin; @param set the characters to take away, white space where null */
export function strip(text: string, set: unknown, side: 'both' | 'left' | 'right' = 'both'): string {
  if (set === undefined || set === null) {
    const left = side === 'right' ? text : text.replace(ENDS.left, '');
    if (side === 'left') return left;
    let end = left.length; // a pattern at the end would be tried at every space
    while (end > 0 && ENDS.right.test(left[end - 1]!)) end--;
    return left.slice(0, end);
  }
  if (typeof set !== 'string') refuse('strip() takes a text');
  const all = characters(text);
  const wanted = new Set(characters(set));
  let [from, to] = [0, all.length];
  if (side !== 'right') while (from < to && wanted.has(all[from]!)) from++;
  if (side !== 'left') while (to > from && wanted.has(all[to - 1]!)) to--;
  return all.slice(from, to).join('');
}
