/** Attributes and methods of Python's texts, lists and dictionaries. What Python has and we lack is refused by its name. */

import type { Access } from './dialect.js';
import { formatMethod } from './format.js';
import { LINE_ENDS, PYTHON_SPACE } from './lexer.js';
import {
  type Callable,
  characters,
  defined,
  equal,
  getKey,
  hasKey,
  isInt,
  itemAt,
  listOf,
  Members,
  order,
  refuse,
  Slice,
  setKey,
  sizeOf,
  strip,
  Tuple,
  truth,
  typeName,
  Undefined,
  View,
} from './values.js';

/**
 * A function that takes arguments by position or by name.
 *
 * @param names of its parameters, with `?` where it may be left out
 */
export function taking(title: string, names: string, apply: (...args: unknown[]) => unknown): Callable {
  const parameters = names === '' ? [] : names.split(' ');
  const bare = parameters.map((name) => name.replace('?', ''));
  const required = parameters.filter((name) => !name.endsWith('?')).length;
  return (args, named) => {
    if (args.length > parameters.length) refuse(`${title} takes ${parameters.length} arguments, not ${args.length}`);
    const all = [...args];
    for (const [name, value] of named) {
      const at = bare.indexOf(name);
      if (at === -1 || at < args.length) refuse(`${title} with the argument "${name}"`);
      all[at] = value;
    }
    for (let i = 0; i < required; i++) if (all[i] === undefined) refuse(`${title} without "${bare[i]}"`);
    return apply(...all);
  };
}

const text = (value: unknown, title: string): string =>
  typeof value === 'string' ? value : refuse(`${title} of a ${typeName(defined(value))} where a text should be`);
const whole = (value: unknown, title: string): number =>
  isInt(value) ? Number(value) : refuse(`${title} with a ${typeName(defined(value))} where a whole number should be`);

const WORDS = new RegExp(`[^${PYTHON_SPACE}]+`, 'g');
const LINES = new RegExp(`\r\n|[${LINE_ENDS}]`, 'g');
const KEPT_LINES = new RegExp(`[^${LINE_ENDS}]*(?:\\r\\n|[${LINE_ENDS}])|[^${LINE_ENDS}]+`, 'g');
const ALL_SPACE = new RegExp(`^[${PYTHON_SPACE}]+$`);

function split(value: string, separator: unknown, most: unknown = -1): string[] {
  const limit = whole(most, 'split()') < 0 ? Number.POSITIVE_INFINITY : Number(most);
  if (separator === undefined || separator === null) {
    const parts: string[] = [];
    for (const { 0: word, index } of value.matchAll(WORDS)) {
      if (parts.length >= limit) return [...parts, strip(value.slice(index), null, 'left')];
      parts.push(word);
    }
    return parts;
  }
  if (text(separator, 'split()') === '') refuse('split() at an empty text');
  const parts = value.split(separator as string);
  return parts.length <= limit + 1 ? parts : [...parts.slice(0, limit), parts.slice(limit).join(separator as string)];
}

function rsplit(value: string, separator: unknown, most: unknown = -1): string[] {
  const limit = whole(most, 'rsplit()');
  if (limit < 0) return split(value, separator);
  const parts = split(value, text(separator, 'rsplit()'));
  const kept = Math.max(0, parts.length - limit);
  return kept <= 1 ? parts : [parts.slice(0, kept).join(separator as string), ...parts.slice(kept)];
}

/** @param count at most so many, from the left; all below 0 */
export function replaced(value: string, from: unknown, to: unknown, count: unknown = -1): string {
  const [old, by] = [text(from, 'replace()'), text(to, 'replace()')];
  const most = whole(count, 'replace()');
  if (most < 0) return value.replaceAll(old === '' ? /(?:)/gu : old, () => by);
  const parts = old === '' ? ['', ...characters(value), ''] : value.split(old);
  const cut = Math.min(most, parts.length - 1);
  return (
    parts.slice(0, cut + 1).join(by) +
    parts
      .slice(cut + 1)
      .map((part) => old + part)
      .join('')
  );
}

/** Letters whose title case is not their upper case, and those that lower case by their neighbours. */
const OWN_TITLE_CASE = /[ǄǅǆǇǈǉǊǋǌǱǲǳΣ\u0130\u10d0-\u10ff\u1f80-\u1faf\u1fb3\u1fbc\u1fc3\u1fcc\u1ff3\u1ffc]/u;

function titleLetter(letter: string, title: string): string {
  const upper = letter.toUpperCase();
  if (OWN_TITLE_CASE.test(letter) || sizeOf(upper) > 1) refuse(`${title} of "${letter}"`);
  return upper;
}

export function capitalized(value: string): string {
  const [first = ''] = characters(value);
  const lower = value.toLowerCase();
  return titleLetter(first, 'capitalize') + lower.slice(first.toLowerCase().length);
}

function titled(value: string): string {
  return value.replace(/\p{Cased}+/gu, (word) => {
    if (OWN_TITLE_CASE.test(word)) refuse(`title of "${word}"`);
    const [first, ...rest] = [...word];
    return titleLetter(first!, 'title') + rest.join('').toLowerCase();
  });
}

/** Whether all letters are of one case, and there is one. */
const isCase = (value: string, changed: string, other: RegExp) =>
  /\p{Cased}/u.test(value) && value === changed && !other.test(value);

function positionOf(value: string, part: unknown, from: unknown, to: unknown, last = false): number {
  const [wanted, all] = [characters(text(part, 'find()')), characters(value)];
  const bounds = new Slice([from ?? null, to ?? null, null]);
  const within = (itemAt(all, bounds) as string[]).join('');
  const found = last ? within.lastIndexOf(wanted.join('')) : within.indexOf(wanted.join(''));
  if (found === -1) return -1;
  const start = from === undefined || from === null ? 0 : whole(from, 'find()');
  return Math.min(Math.max(start < 0 ? start + all.length : start, 0), all.length) + sizeOf(within.slice(0, found));
}

function affix(value: string, parts: unknown, from: unknown, to: unknown, name: 'startsWith' | 'endsWith'): boolean {
  const within = from === undefined ? value : (itemAt(value, new Slice([from, to ?? null, null])) as string);
  const list = parts instanceof Tuple ? parts.items : [parts];
  return list.some((part) => within[name](text(part, name.toLowerCase())));
}

function aligned(value: string, width: unknown, fill: unknown, side: 'left' | 'right' | 'both', title: string): string {
  const missing = Math.max(0, whole(width, title) - sizeOf(value));
  const by = fill === undefined ? ' ' : text(fill, title);
  if (sizeOf(by) !== 1 || missing > 2 ** 20) refuse(`${title} to a width of ${width}`);
  // str.center gives the odd character to the left where the width is odd.
  const left = side === 'left' ? 0 : side === 'right' ? missing : (missing >> 1) + (missing & Number(width) & 1);
  return by.repeat(left) + value + by.repeat(missing - left);
}

function parted(value: string, separator: unknown, at: 'indexOf' | 'lastIndexOf'): Tuple {
  const by = text(separator, 'partition()');
  if (by === '') refuse('partition() at an empty text');
  const found = value[at](by);
  if (found === -1) return new Tuple(at === 'indexOf' ? [value, '', ''] : ['', '', value]);
  return new Tuple([value.slice(0, found), by, value.slice(found + by.length)]);
}

function joined(value: string, items: unknown): string {
  return listOf(items)
    .map((item) => text(item, 'join()'))
    .join(value);
}

/** A zero after the sign. */
function zeroFilled(value: string, width: unknown): string {
  const sign = /^[+-]/.exec(value)?.[0] ?? '';
  return sign + aligned(value.slice(sign.length), whole(width, 'zfill()') - sign.length, '0', 'right', 'zfill()');
}

type Methods<T> = Readonly<Record<string, readonly [names: string, (value: T, ...args: unknown[]) => unknown]>>;

const STR: Methods<string> = {
  strip: ['chars?', (value, set) => strip(value, set)],
  lstrip: ['chars?', (value, set) => strip(value, set, 'left')],
  rstrip: ['chars?', (value, set) => strip(value, set, 'right')],
  split: ['sep? maxsplit?', split],
  rsplit: ['sep? maxsplit?', rsplit],
  splitlines: [
    'keepends?',
    (value, keeps = false) => {
      if (truth(keeps)) return value.match(KEPT_LINES) ?? [];
      const lines = value.split(LINES);
      return lines.at(-1) === '' ? lines.slice(0, -1) : lines;
    },
  ],
  join: ['iterable', joined],
  replace: ['old new count?', replaced],
  lower: ['', (value) => value.toLowerCase()],
  upper: ['', (value) => value.toUpperCase()],
  capitalize: ['', capitalized],
  title: ['', titled],
  startswith: ['prefix start? end?', (value, part, from, to) => affix(value, part, from, to, 'startsWith')],
  endswith: ['suffix start? end?', (value, part, from, to) => affix(value, part, from, to, 'endsWith')],
  find: ['sub start? end?', (value, part, from, to) => positionOf(value, part, from, to)],
  rfind: ['sub start? end?', (value, part, from, to) => positionOf(value, part, from, to, true)],
  index: ['sub start? end?', (value, part, from, to) => found(positionOf(value, part, from, to))],
  rindex: ['sub start? end?', (value, part, from, to) => found(positionOf(value, part, from, to, true))],
  count: ['sub', (value, part) => (part === '' ? sizeOf(value) + 1 : value.split(text(part, 'count()')).length - 1)],
  partition: ['sep', (value, by) => parted(value, by, 'indexOf')],
  rpartition: ['sep', (value, by) => parted(value, by, 'lastIndexOf')],
  removeprefix: [
    'prefix',
    (value, part) => (value.startsWith(text(part, 'removeprefix()')) ? value.slice((part as string).length) : value),
  ],
  removesuffix: [
    'suffix',
    (value, part) =>
      part !== '' && value.endsWith(text(part, 'removesuffix()')) ? value.slice(0, -(part as string).length) : value,
  ],
  ljust: ['width fillchar?', (value, width, fill) => aligned(value, width, fill, 'left', 'ljust()')],
  rjust: ['width fillchar?', (value, width, fill) => aligned(value, width, fill, 'right', 'rjust()')],
  center: ['width fillchar?', (value, width, fill) => aligned(value, width, fill, 'both', 'center()')],
  zfill: ['width', zeroFilled],
  isupper: ['', (value) => isCase(value, value.toUpperCase(), /[\p{Ll}\p{Lt}]/u)],
  islower: ['', (value) => isCase(value, value.toLowerCase(), /[\p{Lu}\p{Lt}]/u)],
  isalpha: ['', (value) => /^\p{L}+$/u.test(value)],
  isdecimal: ['', (value) => /^\p{Nd}+$/u.test(value)],
  isdigit: ['', (value) => isDigits(value)],
  isalnum: [
    '',
    (value) =>
      /^[\p{L}\p{Nd}]+$/u.test(value) ? true : /\p{N}/u.test(value) ? refuse('isalnum() of this text') : false,
  ],
  isspace: ['', (value) => ALL_SPACE.test(value)],
};

/** `str.isdigit()`; texts of digits beyond the decimal ones, such as ², are refused. */
export function isDigits(value: string): boolean {
  if (/^\p{Nd}+$/u.test(value)) return true;
  return /^[\p{Nd}\p{No}]+$/u.test(value) ? refuse(`isdigit() of "${value.slice(0, 20)}"`) : false;
}

const found = (position: number): number => (position === -1 ? refuse('index() of what is not there') : position);

const LIST: Methods<unknown[]> = {
  index: ['value', (list, item) => found(list.findIndex((other) => equal(other, item)))],
  count: ['value', (list, item) => list.filter((other) => equal(other, item)).length],
  copy: ['', (list) => [...list]],
  append: ['object', (list, item) => [list.push(item), null][1]],
  extend: ['iterable', (list, items) => [list.push(...listOf(items)), null][1]],
  insert: ['index object', (list, at, item) => [list.splice(whole(at, 'insert()'), 0, item), null][1]],
  pop: [
    'index?',
    (list, at = -1) => {
      const index = whole(at, 'pop()') < 0 ? Number(at) + list.length : Number(at);
      return index >= 0 && index < list.length ? list.splice(index, 1)[0] : refuse('pop() of what is not there');
    },
  ],
  reverse: ['', (list) => [list.reverse(), null][1]],
  sort: ['', (list) => [list.sort((a, b) => order(a, b)), null][1]],
  clear: ['', (list) => [list.splice(0), null][1]],
};

const pairs = (map: Map<unknown, unknown>) => [...map].map(([key, value]) => new Tuple([key, value]));

const DICT: Methods<Map<unknown, unknown>> = {
  get: ['key default?', (map, key, otherwise = null) => (hasKey(map, key) ? getKey(map, key) : otherwise)],
  keys: ['', (map) => new View('dict_keys', [...map.keys()])],
  values: ['', (map) => new View('dict_values', [...map.values()])],
  items: ['', (map) => new View('dict_items', pairs(map))],
  copy: ['', (map) => new Map(map)],
  update: ['other', (map, other) => [entries(other).map(([key, value]) => setKey(map, key, value)), null][1]],
  setdefault: [
    'key default?',
    (map, key, value = null) => (hasKey(map, key) ? getKey(map, key) : [setKey(map, key, value), value][1]),
  ],
  pop: [
    'key default?',
    (map, key, otherwise) => {
      if (!hasKey(map, key)) return otherwise ?? refuse('pop() of what is not there');
      const value = getKey(map, key);
      for (const candidate of map.keys()) if (equal(candidate, key)) map.delete(candidate);
      return value;
    },
  ],
};

const TUPLE: Methods<Tuple> = {
  index: ['value', (tuple, item) => found(tuple.items.findIndex((other) => equal(other, item)))],
  count: ['value', (tuple, item) => tuple.items.filter((other) => equal(other, item)).length],
};

/** Key and value of what `dict()` takes. */
export function entries(value: unknown): Array<[unknown, unknown]> {
  if (value instanceof Map) return [...value];
  return listOf(value).map((item) => {
    const pair = listOf(item);
    return pair.length === 2 ? [pair[0], pair[1]] : refuse(`a dict of an item with ${pair.length} parts`);
  });
}

/** Methods whose arguments may be named. */
const BY_NAME = new Set(['split', 'rsplit', 'splitlines']);
/** What changes its value: transformers' sandbox forbids these. */
const CHANGES = new Set('append extend insert pop reverse sort clear update setdefault remove popitem'.split(' '));
const MISSING: Readonly<Record<string, string>> = {
  str: 'casefold encode expandtabs format_map isascii isidentifier isnumeric isprintable istitle maketrans swapcase translate',
  list: 'remove',
  dict: 'fromkeys popitem',
  int: 'as_integer_ratio bit_count bit_length conjugate denominator from_bytes imag is_integer numerator real to_bytes',
  range: 'count index start step stop',
};

function methodsOf(value: unknown): Methods<never> | undefined {
  if (typeof value === 'string') return STR as Methods<never>;
  if (Array.isArray(value)) return LIST as Methods<never>;
  if (value instanceof Map) return DICT as Methods<never>;
  return value instanceof Tuple ? (TUPLE as Methods<never>) : undefined;
}

/** The method or attribute, or undefined where Python has none of the name. */
function attributeOf(value: unknown, name: string, access: Access): unknown {
  if (value instanceof Members) return value.members.get(name);
  if (value instanceof Tuple && value.names.includes(name)) return value.items[value.names.indexOf(name)];
  const type = typeName(value);
  const methods = methodsOf(value);
  if (name === 'format' && typeof value === 'string') {
    return ((args, named) =>
      formatMethod(value, args, named, (of, key, isIndex) => {
        return isIndex ? item(of, /^\d+$/.test(key) ? Number(key) : key, access) : attribute(of, key, access);
      })) satisfies Callable;
  }
  if (methods !== undefined && Object.hasOwn(methods, name)) {
    if (access.isSandboxed && CHANGES.has(name)) refuse(`${type}.${name}() changes what it is called on`);
    const [names, apply] = methods[name]!;
    const call = taking(`${type}.${name}()`, names, (...args) => apply(value as never, ...args));
    if (BY_NAME.has(name)) return call;
    return ((args, named) => {
      return named.size > 0 ? refuse(`${type}.${name}() with named arguments`) : call(args, named);
    }) satisfies Callable;
  }
  const kind = type === 'bool' || type === 'float' ? 'int' : type;
  const isMissing = (Object.hasOwn(MISSING, kind) ? MISSING[kind]!.split(' ') : []).includes(name);
  if (isMissing || /^__.*__$/.test(name)) refuse(`${type}.${name} is not supported`);
  return undefined;
}

const noSuch = (value: unknown, name: string, { isStrict }: Access) =>
  new Undefined(`a ${typeName(value)} has no "${name}"`, isStrict);

/** `value.name` */
export function attribute(value: unknown, name: string, access: Access): unknown {
  defined(value);
  const found = attributeOf(value, name, access);
  if (found !== undefined) return found;
  if (value instanceof Map && value.has(name)) return value.get(name);
  return noSuch(value, name, access);
}

/** `value[index]` */
export function item(value: unknown, index: unknown, access: Access): unknown {
  defined(value);
  defined(index);
  if (value instanceof Map) {
    if (!(index instanceof Slice || Array.isArray(index) || index instanceof Map) && hasKey(value, index))
      return getKey(value, index);
  } else if (methodsOf(value) !== undefined || typeName(value) === 'range') {
    const found = itemAt(value, index);
    if (found !== undefined) return found;
  }
  const named = typeof index === 'string' ? attributeOf(value, index, access) : undefined;
  return named ?? noSuch(value, typeof index === 'string' ? index : String(index), access);
}
