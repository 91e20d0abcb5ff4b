/**
 * What @huggingface/jinja does otherwise than Python's jinja2, done as Python does it: methods and filters of text, and the day's
 * date. A parsed template's calls of these are turned into calls of functions here, whose names no template can spell.
 *
 * Left as the library has it: an index into a text counts UTF-16 units where Python counts characters.
 */

import { LIMITS } from '../core/limits.js';

/** Where Python's `str.strip()` and `str.split()` see white space; JavaScript adds U+FEFF and leaves out U+001C to U+001F and U+0085. */
const SPACE = '\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000';
const LEADING = new RegExp(`^[${SPACE}]+`);
const TRAILING = new RegExp(`[${SPACE}]+$`);
const WORDS = new RegExp(`[^${SPACE}]+`, 'g');

type Side = 'both' | 'left' | 'right';

/** @param characters those to take away; white space where null */
function strip(text: string, characters: unknown, side: Side): string {
  if (characters === undefined || characters === null) {
    const left = side === 'right' ? text : text.replace(LEADING, '');
    return side === 'left' ? left : left.replace(TRAILING, '');
  }
  if (typeof characters !== 'string') throw new Error('strip() takes a text');
  const set = new Set(characters);
  const all = [...text];
  let [from, to] = [0, all.length];
  if (side !== 'right') while (from < to && set.has(all[from]!)) from++;
  if (side !== 'left') while (to > from && set.has(all[to - 1]!)) to--;
  return all.slice(from, to).join('');
}

function split(text: string, separator: unknown, most: unknown): string[] {
  const limit = most === undefined || most === null || Number(most) < 0 ? Number.POSITIVE_INFINITY : Number(most);
  if (Number.isNaN(limit)) throw new Error('split() takes a number as its second argument');
  if (separator === undefined || separator === null) {
    const parts: string[] = [];
    for (const { 0: word, index } of text.matchAll(WORDS)) {
      if (parts.length >= limit) return [...parts, text.slice(index)];
      parts.push(word);
    }
    return parts;
  }
  if (typeof separator !== 'string' || separator === '') throw new Error('split() takes a text that is not empty');
  const parts = text.split(separator);
  return parts.length <= limit + 1 ? parts : [...parts.slice(0, limit), parts.slice(limit).join(separator)];
}

/** Letters beyond ASCII have title cases of their own, which JavaScript does not know. */
function ascii(text: string, name: string): string {
  if (/^[\0-\x7f]*$/.test(text)) return text;
  throw new Error(`${name} of text beyond ASCII`);
}

const capitalize = (text: string): string =>
  ascii(text, 'capitalize').slice(0, 1).toUpperCase() + text.slice(1).toLowerCase();

const METHODS: Readonly<Record<string, (text: string, ...args: unknown[]) => unknown>> = {
  strip: (text, characters) => strip(text, characters, 'both'),
  lstrip: (text, characters) => strip(text, characters, 'left'),
  rstrip: (text, characters) => strip(text, characters, 'right'),
  split,
  capitalize,
  title: (text) =>
    ascii(text, 'title').replace(/[A-Za-z]+/g, (word) => word[0]!.toUpperCase() + word.slice(1).toLowerCase()),
};

/** `value`: text, or what a list or an object of the template holds. */
const FILTERS: Readonly<Record<string, (value: unknown, ...args: unknown[]) => unknown>> = {
  trim: (value, characters) => strip(asText(value, 'trim'), characters, 'both'),
  capitalize: (value) => capitalize(asText(value, 'capitalize')),
  title: (value) =>
    ascii(asText(value, 'title'), 'title')
      .split(/([-\s({[<]+)/)
      .map((part) => part.slice(0, 1).toUpperCase() + part.slice(1).toLowerCase())
      .join(''),
  length: sizeOf,
  count: sizeOf,
};

function asText(value: unknown, filter: string): string {
  if (typeof value === 'string') return value;
  if (value === undefined) return '';
  throw new Error(`filter ${filter} of what is no text`);
}

function sizeOf(value: unknown): number {
  if (value === undefined) return 0;
  if (typeof value === 'string') return [...value].length; // characters, not UTF-16 units
  if (Array.isArray(value)) return value.length;
  if (value instanceof Map) return value.size;
  throw new Error('length of what has none');
}

const methodName = (name: string): string => `str.${name}`;
const filterName = (name: string): string => `| ${name}`;

/** To be set in a template's environment. */
export const pythonFunctions: Readonly<Record<string, (...args: unknown[]) => unknown>> = Object.fromEntries([
  ...Object.entries(METHODS).map(([name, apply]) => {
    const method = (text: unknown, ...args: unknown[]): unknown => {
      if (typeof text !== 'string') throw new Error(`${name}() of what is no text`);
      if (args.some((arg) => arg instanceof Map)) throw new Error(`${name}() with named arguments`);
      return apply(text, ...args);
    };
    return [methodName(name), method] as const;
  }),
  ...Object.entries(FILTERS).map(([name, apply]) => [filterName(name), apply] as const),
  ['range', range] as const,
]);

function range(...args: unknown[]): number[] {
  const [start, stop, step] = args.length === 1 ? [0, args[0], 1] : [args[0], args[1], args[2] ?? 1];
  const whole = [start, stop, step].every(Number.isInteger);
  if (!whole || step === 0) throw new Error('range() takes whole numbers, and a step that is not 0');
  const [from, to, by] = [start, stop, step] as [number, number, number];
  const length = Math.max(0, Math.ceil((to - from) / by));
  if (length > LIMITS.rangeNumbers) throw new Error(`range() of ${length} numbers`);
  return Array.from({ length }, (_, i) => from + i * by);
}

/** What the library calls a value of a template. */
interface RuntimeValue {
  type: string;
  value: unknown;
}

/** No template can spell these. */
const WRITE = '{{ }}';
const DEFINED = '.';
const FILTERED = '|';

/**
 * Sets the functions that pythonised() calls: what writes a value as Python does: None, True and False by these names; a list or an object would have a form of Python's
 * own. And what refuses a part of something undefined, where the library would give nothing.
 */
export function setPythonSemantics(environment: { set(name: string, value: unknown): unknown }): void {
  const text = (value: string) => ({ type: 'StringValue', value, toString: () => value });
  const define = (name: string, apply: (...args: RuntimeValue[]) => RuntimeValue): void => {
    const made = environment.set(name, () => '') as { value: (args: RuntimeValue[]) => RuntimeValue };
    made.value = (args) => apply(...args);
  };
  define(DEFINED, (given, part) => {
    if (given!.type !== 'UndefinedValue') return given!;
    throw new Error(`${part!.value} of what is undefined`);
  });
  define(FILTERED, (given) => {
    if (given!.type !== 'NullValue') return given!;
    throw new Error('a filter of none');
  });
  define(WRITE, (given) => {
    const { type, value } = given!;
    if (type === 'NullValue') return text('None');
    if (type === 'BooleanValue') return text(value ? 'True' : 'False');
    if (type === 'ArrayValue' || type === 'ObjectValue') throw new Error('a list or an object is written as text');
    return given!;
  });
}

/** Nodes that write nothing themselves, or text as it is. */
const STATEMENTS = ['If', 'For', 'Set', 'Macro', 'Break', 'Continue', 'Comment', 'CallStatement', 'FilterStatement'];
const BLOCKS = ['body', 'alternate', 'defaultBlock'];

interface Node {
  type: string;
  [part: string]: unknown;
}

/** Turns a parsed template's calls of the methods and filters above into calls of `pythonFunctions`, and what it writes into calls of `setPythonSemantics`'s. */
export function pythonised(part: unknown): void {
  if (Array.isArray(part)) for (const item of part) pythonised(item);
  else if (part instanceof Map) for (const [key, value] of part) [key, value].forEach(pythonised);
  else if (typeof part === 'object' && part !== null) {
    const { assignee, ...parts } = part as Node; // a name that is set is not read
    Object.values(parts).forEach(pythonised);
    mend(part as Node);
    for (const block of BLOCKS) {
      const list = (part as Node)[block];
      if (Array.isArray(list)) (part as Node)[block] = list.map(written);
    }
  }
}

function written(node: Node): Node {
  if (node.type === 'StringLiteral' || STATEMENTS.includes(node.type)) return node;
  return { type: 'CallExpression', callee: { type: 'Identifier', value: WRITE }, args: [node] };
}

function mend(node: Node): void {
  if (node.type === 'CallExpression') {
    const callee = node.callee as Node;
    if (callee.type !== 'MemberExpression' || callee.computed === true) return;
    const property = callee.property as Node;
    if (!Object.hasOwn(METHODS, String(property.value))) return;
    node.args = [callee.object, ...(node.args as Node[])];
    node.callee = { ...property, value: methodName(String(property.value)) };
  } else if (node.type === 'MemberExpression') {
    const part = node.computed === true ? 'a part' : String((node.property as Node).value);
    const args = [node.object, { type: 'StringLiteral', value: part }];
    node.object = { type: 'CallExpression', callee: { type: 'Identifier', value: DEFINED }, args };
  } else if (node.type === 'FilterExpression') {
    const filter = node.filter as Node;
    const [name, args] = filter.type === 'CallExpression' ? [filter.callee as Node, filter.args] : [filter, []];
    if (!Object.hasOwn(FILTERS, String(name.value))) return;
    const operand = { type: 'CallExpression', callee: { type: 'Identifier', value: FILTERED }, args: [node.operand] };
    for (const key of Object.keys(node)) delete node[key];
    const callee = { type: 'Identifier', value: filterName(String(name.value)) };
    Object.assign(node, { type: 'CallExpression', callee, args: [operand, ...(args as Node[])] });
  }
}

const DAYS = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday'];
const MONTHS = [
  ...['January', 'February', 'March', 'April', 'May', 'June', 'July', 'August', 'September', 'October', 'November'],
  'December',
];

const padded = (value: number, digits = 2): string => String(value).padStart(digits, '0');
const hour12 = (date: Date): number => date.getHours() % 12 || 12;

/** Codes of Python's strftime, in the C locale and in local time. */
const DATE_CODES: Readonly<Record<string, (date: Date) => string>> = {
  Y: (date) => String(date.getFullYear()),
  y: (date) => padded(date.getFullYear() % 100),
  m: (date) => padded(date.getMonth() + 1),
  d: (date) => padded(date.getDate()),
  e: (date) => String(date.getDate()).padStart(2, ' '),
  '-d': (date) => String(date.getDate()),
  '-m': (date) => String(date.getMonth() + 1),
  B: (date) => MONTHS[date.getMonth()]!,
  b: (date) => MONTHS[date.getMonth()]!.slice(0, 3),
  A: (date) => DAYS[date.getDay()]!,
  a: (date) => DAYS[date.getDay()]!.slice(0, 3),
  H: (date) => padded(date.getHours()),
  I: (date) => padded(hour12(date)),
  '-I': (date) => String(hour12(date)),
  M: (date) => padded(date.getMinutes()),
  S: (date) => padded(date.getSeconds()),
  p: (date) => (date.getHours() < 12 ? 'AM' : 'PM'),
  '%': () => '%',
};

/** A date in a format of Python's strftime. Throws a plain Error for a code that is not known. */
export function strftime(date: Date, format: string): string {
  return format.replace(/%(-?.?)/gs, (whole, code: string) => {
    const write = Object.hasOwn(DATE_CODES, code) ? DATE_CODES[code] : undefined;
    if (write === undefined) throw new Error(`strftime_now with ${whole}`);
    return write(date);
  });
}
