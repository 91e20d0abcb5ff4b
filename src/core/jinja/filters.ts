/** jinja2's filters, and `regex_replace` of lm-evaluation-harness. Those that are not here are refused by their names. */

import { arithmetic, int, negative, rounded } from './arithmetic.js';
import type { Access } from './dialect.js';
import { percent } from './format.js';
import { jsonOf } from './json.js';
import { LINE_ENDS, PYTHON_SPACE } from './lexer.js';
import { attribute, capitalized, entries, item, replaced, taking } from './methods.js';
import { substituted } from './pattern.js';
import { testNamed } from './tests.js';
import {
  type Callable,
  characters,
  defined,
  equal,
  float,
  isInt,
  isNumber,
  itemAt,
  listOf,
  Markup,
  type Named,
  Once,
  order,
  refuse,
  sizeOf,
  str,
  strip,
  Tuple,
  truth,
  typeName,
  Undefined,
  View,
} from './values.js';

type Filter = (value: unknown, args: readonly unknown[], named: Named, context: Access) => unknown;

/** @param names of the parameters after the value, with `?` where one may be left out */
function filter(names: string, apply: (value: unknown, context: Access, ...args: unknown[]) => unknown): Filter {
  return (value, args, named, context) =>
    taking('the filter', names, (...given) => apply(value, context, ...given))(args, named);
}

const count = (value: unknown, what: string): number =>
  isInt(value) ? Number(value) : refuse(`${what} with a ${typeName(defined(value))} where a whole number should be`);
const pathOf = (path: unknown) => str(path).split('.');
const ignoreCase = (value: unknown) => (typeof value === 'string' ? value.toLowerCase() : value);

/** `a.b.0` of each item. */
function getter(path: unknown, context: Access, otherwise?: unknown): (value: unknown) => unknown {
  if (path === undefined || path === null) return (value) => value;
  const parts = isInt(path) ? [path] : pathOf(path).map((part) => (/^\d+$/.test(part) ? Number(part) : part));
  return (value) => {
    let found = value;
    for (const part of parts) {
      found = item(found, part, context);
      if (otherwise !== undefined && otherwise !== null && found instanceof Undefined) found = otherwise;
    }
    return found;
  };
}

function sorted(values: readonly unknown[], key: (value: unknown) => unknown, isReversed: unknown): unknown[] {
  const keyed = values.map((value) => [key(value), value] as const);
  if (keyed.length === 1) defined(keyed[0]![0]);
  const sign = truth(isReversed) ? -1 : 1;
  return keyed.sort(([a], [b]) => sign * order(a, b)).map(([, value]) => value);
}

function sortedBy(value: unknown, context: Access, reverse: unknown, caseSensitive: unknown, path: unknown): unknown[] {
  const keys = (typeof path === 'string' ? path.split(',') : [path]).map((part) => getter(part, context));
  const fold = truth(caseSensitive) ? (key: unknown) => key : ignoreCase;
  return sorted(listOf(value), (one) => keys.map((key) => fold(key(one))), reverse);
}

/** The first of the least, or with `sign` -1 of the greatest. */
function extreme(value: unknown, context: Access, caseSensitive: unknown, path: unknown, sign: number): unknown {
  const key = getter(path, context);
  const fold = (one: unknown) => (truth(caseSensitive) ? key(one) : ignoreCase(key(one)));
  const values = listOf(value);
  if (values.length === 0) return new Undefined('No aggregated item, sequence was empty.', context.isStrict);
  return values.reduce((best, one) => (sign * order(fold(one), fold(best)) < 0 ? one : best));
}

function unique(value: unknown, context: Access, caseSensitive: unknown, path: unknown): Once {
  const key = getter(path, context);
  const seen: unknown[] = [];
  return new Once(
    listOf(value).filter((one) => {
      const folded = truth(caseSensitive) ? key(one) : ignoreCase(key(one));
      const isNew = !seen.some((other) => equal(other, folded));
      if (isNew) seen.push(folded);
      return isNew;
    }),
  );
}

const mapped: Filter = (value, args, named, context) => {
  if (args.length === 0 && named.has('attribute')) {
    const unknown = [...named.keys()].find((name) => !['attribute', 'default'].includes(name));
    if (unknown !== undefined) refuse(`map with "${unknown}"`);
    return new Once(listOf(value).map(getter(named.get('attribute'), context, named.get('default'))));
  }
  const [name, ...rest] = args;
  const apply = filterNamed(str(name ?? refuse('map without a filter')), context);
  return new Once(listOf(value).map((one) => apply(one, rest, named, context)));
};

function selecting(keeps: boolean, byAttribute: boolean): Filter {
  return (value, args, named, context) => {
    if (named.size > 0) refuse('select with named arguments');
    const [path, rest] = byAttribute ? [args[0], args.slice(1)] : [undefined, args];
    if (byAttribute && path === undefined) refuse('selectattr without an attribute');
    const key = getter(path, context);
    const passes = rest.length === 0 ? truth : testNamed(str(rest[0]));
    return new Once(listOf(value).filter((one) => passes(key(one), ...rest.slice(1)) === keeps));
  };
}

function parsedInt(value: unknown, otherwise: unknown, base: unknown): unknown {
  const radix = count(base, 'int');
  if (typeof value === 'string') {
    const text = strip(value, null).replace(/(?<=[\dA-Za-z])_(?=[\dA-Za-z])/g, '');
    const prefix: Record<number, RegExp> = { 2: /^([-+]?)0b/i, 8: /^([-+]?)0o/i, 16: /^([-+]?)0x/i };
    const digits = text.replace(prefix[radix] ?? /^([-+]?)/, '$1');
    if (radix === 10 && /^[-+]?\d+$/.test(digits)) return int(BigInt(digits.replace('+', '')));
    if (radix < 2 || radix > 36) refuse(`int of base ${radix}`);
    const alphabet = '0123456789abcdefghijklmnopqrstuvwxyz'.slice(0, radix);
    if (radix !== 10 && new RegExp(`^[-+]?[${alphabet}]{1,10}$`, 'i').test(digits))
      return Number.parseInt(digits, radix);
  } else if (isInt(value)) return int(BigInt(value));
  const number = parsedFloat(value);
  return number === undefined || !Number.isFinite(number) ? otherwise : int(BigInt(Math.trunc(number)));
}

/** `float(value)`, or undefined where Python raises an error. */
function parsedFloat(value: unknown): number | undefined {
  if (isNumber(value)) return Number(value);
  if (typeof value !== 'string') return defined(value) === value ? undefined : undefined;
  if (/(?![0-9])\p{Nd}/u.test(value)) refuse('a number in digits beyond ASCII');
  const text = strip(value, null)
    .replace(/(?<=\d)_(?=\d)/g, '')
    .toLowerCase();
  const special = /^([-+]?)(inf|infinity|nan)$/.exec(text);
  if (special !== null)
    return (special[1] === '-' ? -1 : 1) * (special[2] === 'nan' ? Number.NaN : Number.POSITIVE_INFINITY);
  return /^[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?$/.test(text) ? Number(text) : undefined;
}

function indented(value: unknown, width: unknown, first: unknown, blank: unknown): string {
  const indention = typeof width === 'string' ? width : ' '.repeat(count(width, 'indent'));
  const lines = str(value).split(new RegExp(`\\r\\n|[${LINE_ENDS}]`));
  const rest = lines.slice(1).map((line) => (line === '' && !truth(blank) ? line : indention + line));
  return (truth(first) ? indention : '') + [lines[0], ...rest].join('\n');
}

function truncated(value: unknown, length: unknown, kills: unknown, end: unknown, leeway: unknown): unknown {
  const [most, mark] = [count(length, 'truncate'), str(end)];
  if (most < sizeOf(mark)) refuse(`truncate to ${most}`);
  const longest = most + (leeway === null ? 5 : count(leeway, 'truncate'));
  if (sizeOf(value) <= longest) return value; // a list too
  if (typeof value !== 'string') return refuse(`truncate of a ${typeName(value)}`);
  const all = characters(value);
  const cut = all.slice(0, most - sizeOf(mark)).join('');
  const space = cut.lastIndexOf(' ');
  return (truth(kills) || space === -1 ? cut : cut.slice(0, space)) + mark;
}

function batches(value: unknown, size: unknown, fill: unknown): Once {
  const [items, width] = [listOf(value), count(size, 'batch')];
  if (width < 1) refuse(`batch of ${width}`);
  const made: unknown[][] = [];
  for (let i = 0; i < items.length; i += width) made.push(items.slice(i, i + width));
  const last = made.at(-1);
  if (fill !== null) while (last !== undefined && last.length < width) last.push(fill);
  return new Once(made);
}

function slices(value: unknown, wanted: unknown, fill: unknown): Once {
  const [items, parts] = [listOf(value), count(wanted, 'slice')];
  if (parts < 1 || parts > 2 ** 16) refuse(`slice of ${parts}`);
  const [size, extra] = [Math.floor(items.length / parts), items.length % parts];
  let at = 0;
  return new Once(
    Array.from({ length: parts }, (_, i) => {
      const part = items.slice(at, at + size + (i < extra ? 1 : 0));
      at += part.length;
      return fill !== null && i >= extra ? [...part, fill] : part;
    }),
  );
}

function grouped(
  value: unknown,
  context: Access,
  path: unknown,
  otherwise: unknown,
  caseSensitive: unknown,
): unknown[] {
  const key = getter(path, context, otherwise);
  const fold = (one: unknown) => (truth(caseSensitive) ? key(one) : ignoreCase(key(one)));
  const groups: Array<{ key: unknown; first: unknown; items: unknown[] }> = [];
  for (const one of sorted(listOf(value), fold, false)) {
    const last = groups.at(-1);
    if (last !== undefined && equal(last.key, fold(one))) last.items.push(one);
    else groups.push({ key: fold(one), first: key(one), items: [one] });
  }
  return groups.map(({ first, items }) => new Tuple([first, items], ['grouper', 'list']));
}

function rounding(value: unknown, precision: unknown, method: unknown): unknown {
  if (method === 'common') return rounded(value, count(precision, 'round'));
  if (method !== 'ceil' && method !== 'floor') refuse(`round with the method ${str(method)}`);
  const unit = arithmetic('**', 10, precision);
  const scaled = Number(arithmetic('*', value, unit));
  return arithmetic('/', int(BigInt(method === 'ceil' ? Math.ceil(scaled) : Math.floor(scaled))), unit);
}

const HTML: Readonly<Record<string, string>> = { '<': '\\u003c', '>': '\\u003e', '&': '\\u0026', "'": '\\u0027' };

const toJsonFilter: Filter = (value, args, named, context) => {
  const names = context.isSandboxed ? 'ensure_ascii? indent? separators? sort_keys?' : 'indent?';
  return taking('tojson', names, (...given) => {
    // jinja2 writes for HTML, transformers does not.
    const [isAscii, indent, separators, sorts] = context.isSandboxed ? given : [true, given[0], undefined, true];
    if (separators !== undefined && separators !== null) refuse('tojson with separators');
    const unit =
      indent === undefined || indent === null ? undefined : isInt(indent) ? ' '.repeat(Number(indent)) : str(indent);
    const text = jsonOf(value, truth(isAscii ?? false), truth(sorts ?? false), unit);
    return context.isSandboxed ? text : new Markup(text.replace(/[<>&']/g, (one) => HTML[one]!));
  })(args, named);
};

const WORD_STARTS = new RegExp(`([-${PYTHON_SPACE}({[<]+)`);

function titled(value: unknown): string {
  return str(value)
    .split(WORD_STARTS)
    .filter((part) => part !== '')
    .map((part) => characters(part)[0]!.toUpperCase() + characters(part).slice(1).join('').toLowerCase())
    .join('');
}

const lengthOf = filter('', (value) => sizeOf(value));
const lastOf = (value: unknown, { isStrict }: Access, at: 0 | -1) =>
  itemAt(value instanceof Once || value instanceof View || value instanceof Map ? listOf(value) : value, at) ??
  new Undefined('No item, sequence was empty.', isStrict);
const otherwise = filter('default_value? boolean?', (value, _, by = '', isBoolean = false) =>
  value instanceof Undefined || (truth(isBoolean) && !truth(value)) ? by : value,
);

const FILTERS: Readonly<Record<string, Filter>> = {
  abs: filter('', (value) =>
    isNumber(value)
      ? Number(value) < 0
        ? negative(value)
        : arithmetic('+', value, 0)
      : refuse(`abs of a ${typeName(defined(value))}`),
  ),
  attr: filter('name', (value, context, name) =>
    value instanceof Map ? refuse('attr of a dict') : attribute(value, str(name), context),
  ),
  batch: filter('linecount fill_with?', (value, _, size, fill = null) => batches(value, size, fill)),
  capitalize: filter('', (value) => capitalized(str(value))),
  center: filter('width?', (value, context, width = 80) =>
    (attribute(str(value), 'center', context) as Callable)([width], new Map()),
  ),
  count: lengthOf,
  d: otherwise,
  default: otherwise,
  dictsort: filter('case_sensitive? by? reverse?', (value, _, caseSensitive = false, by = 'key', reverse = false) => {
    if (!(value instanceof Map) || !['key', 'value'].includes(str(by))) refuse('dictsort of what is no dict');
    const at = by === 'key' ? 0 : 1;
    const pairs = entries(value).map((pair) => new Tuple(pair));
    const fold = truth(caseSensitive) ? (key: unknown) => key : ignoreCase;
    return sorted(pairs, (pair) => fold((pair as Tuple).items[at]), reverse);
  }),
  first: filter('', (value, context) => lastOf(value, context, 0)),
  float: filter('default?', (value, _, by = float(0)) => {
    const number = parsedFloat(value);
    return number === undefined ? by : float(number);
  }),
  format: (value, args, named) => {
    if (args.length > 0 && named.size > 0) refuse('format with both kinds of arguments');
    return percent(str(value), named.size > 0 ? new Map(named) : new Tuple(args));
  },
  groupby: filter('attribute default? case_sensitive?', (value, context, path, by, caseSensitive = false) =>
    grouped(value, context, path, by, caseSensitive),
  ),
  indent: filter('width? first? blank?', (value, _, width = 4, first = false, blank = false) =>
    indented(value, width, first, blank),
  ),
  int: filter('default? base?', (value, _, by = 0, base = 10) => parsedInt(value, by, base)),
  items: filter('', (value) => {
    if (value instanceof Undefined) return new Once([]);
    return value instanceof Map
      ? new Once(entries(value).map((pair) => new Tuple(pair)))
      : refuse('items of what is no dict');
  }),
  join: filter('d? attribute?', (value, context, by = '', path = null) =>
    listOf(value).map(getter(path, context)).map(str).join(str(by)),
  ),
  last: filter('', (value, context) => {
    return value instanceof Once ? refuse('last of a generator') : lastOf(value, context, -1);
  }),
  length: lengthOf,
  list: filter('', (value) => [...listOf(value)]),
  lower: filter('', (value) => str(value).toLowerCase()),
  map: mapped,
  max: filter('case_sensitive? attribute?', (value, context, sensitive = false, path = null) =>
    extreme(value, context, sensitive, path, -1),
  ),
  min: filter('case_sensitive? attribute?', (value, context, sensitive = false, path = null) =>
    extreme(value, context, sensitive, path, 1),
  ),
  regex_replace: filter('pattern repl count?', (value, _, pattern, by, most = 0) => {
    if ([value, pattern, by].some((one) => typeof one !== 'string')) refuse('regex_replace of what is no text');
    return substituted(value as string, pattern as string, by as string, count(most, 'regex_replace'));
  }),
  reject: selecting(false, false),
  rejectattr: selecting(false, true),
  replace: filter('old new count?', (value, _, from, to, most = null) =>
    replaced(str(value), str(from), str(to), most ?? -1),
  ),
  reverse: filter('', (value) =>
    typeof value === 'string' ? characters(value).reverse().join('') : new Once([...listOf(value)].reverse()),
  ),
  round: filter('precision? method?', (value, _, precision = 0, method = 'common') =>
    rounding(value, precision, method),
  ),
  select: selecting(true, false),
  selectattr: selecting(true, true),
  slice: filter('slices fill_with?', (value, _, parts, fill = null) => slices(value, parts, fill)),
  sort: filter(
    'reverse? case_sensitive? attribute?',
    (value, context, reverse = false, sensitive = false, path = null) =>
      sortedBy(value, context, reverse, sensitive, path),
  ),
  string: filter('', (value) => str(value)),
  sum: filter('attribute? start?', (value, context, path = null, start = 0) => {
    if (typeof start === 'string') refuse('sum of texts');
    return listOf(value)
      .map(getter(path, context))
      .reduce((total, one) => arithmetic('+', total, one), start);
  }),
  title: filter('', titled),
  tojson: toJsonFilter,
  trim: filter('chars?', (value, _, set = null) => strip(str(value), set)),
  truncate: filter(
    'length? killwords? end? leeway?',
    (value, _, length = 255, kills = false, end = '...', leeway = null) => truncated(value, length, kills, end, leeway),
  ),
  unique: filter('case_sensitive? attribute?', (value, context, sensitive = false, path = null) =>
    unique(value, context, sensitive, path),
  ),
  upper: filter('', (value) => str(value).toUpperCase()),
  wordcount: filter('', (value) => (str(value).match(/[\p{L}\p{N}_]+/gu) ?? []).length),
};

export function filterNamed(name: string, { isSandboxed }: Access): Filter {
  const isKnown = Object.hasOwn(FILTERS, name) && !(name === 'regex_replace' && isSandboxed);
  return isKnown ? FILTERS[name]! : refuse(`the filter "${name}" is not supported`);
}
