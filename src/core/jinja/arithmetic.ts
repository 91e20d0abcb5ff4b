/** Python's operators: floor division and remainder, whole numbers of any size, texts and lists added and repeated, `%` on texts. */

import { fixed } from './float-text.js';
import { percent } from './format.js';
import { defined, float, isFloat, isInt, isNumber, Markup, refuse, Tuple, typeName } from './values.js';

/** A text or a list beyond this is refused before it is made. */
const LONGEST = 2 ** 27;

/** The int, as a number where it is a safe integer. */
export function int(value: bigint): number | bigint {
  return value >= Number.MIN_SAFE_INTEGER && value <= Number.MAX_SAFE_INTEGER ? Number(value) : value;
}

type Int = number | bigint | boolean;
const big = (value: Int): bigint => BigInt(value);
const isSmall = (...values: readonly Int[]) => values.every((value) => typeof value !== 'bigint');

/** By plain numbers where the result is exact in them, else by bigints. */
function exactly(a: Int, b: Int, plain: (a: number, b: number) => number, wide: (a: bigint, b: bigint) => bigint) {
  if (isSmall(a, b)) {
    const result = plain(Number(a), Number(b));
    if (Number.isSafeInteger(result)) return result + 0; // no -0 of whole numbers
  }
  return int(wide(big(a), big(b)));
}

function remainder(a: number, b: number): number {
  const rest = a % b;
  if (rest === 0) return b < 0 ? -0 : 0;
  return rest < 0 === b < 0 ? rest : rest + b;
}

const wideRemainder = (a: bigint, b: bigint): bigint => {
  const rest = a % b;
  return rest !== 0n && rest < 0n !== b < 0n ? rest + b : rest;
};

function power(a: Int, b: Int): unknown {
  if (Number(b) < 0) return floats('**', Number(a), Number(b));
  const bits = Math.log2(Math.abs(Number(a)) + 1) * Number(b);
  if (!(bits < 2 ** 16)) refuse(`${a} ** ${b} is too large`);
  return int(big(a) ** big(b));
}

function floats(operator: string, a: number, b: number): number {
  if (b === 0 && ['/', '//', '%'].includes(operator)) refuse('division by zero');
  switch (operator) {
    case '+':
      return float(a + b);
    case '-':
      return float(a - b);
    case '*':
      return float(a * b);
    case '/':
      return float(a / b);
    case '%':
      return float(remainder(a, b));
    case '//': {
      // As floatobject.c has it: the remainder's sign is mended after the division, which is of infinities too.
      const rest = a % b;
      const quotient = (a - rest) / b - (rest !== 0 && rest < 0 !== b < 0 ? 1 : 0);
      if (quotient === 0) return float(a / b < 0 || Object.is(a / b, -0) ? -0 : 0);
      const down = Math.floor(quotient);
      return float(quotient - down > 0.5 ? down + 1 : down);
    }
    default: {
      if (a === 0 && b < 0) refuse('0 to a negative power');
      if (a < 0 && !Number.isInteger(b) && Number.isFinite(b)) refuse('a root of a negative number');
      const result = a === 1 || (a === -1 && !Number.isFinite(b) && !Number.isNaN(b)) ? 1 : a ** b; // C's pow
      if (!Number.isFinite(result) && Number.isFinite(a) && Number.isFinite(b)) refuse(`${a} ** ${b} is too large`);
      return float(result);
    }
  }
}

function ints(operator: string, a: Int, b: Int): unknown {
  if (!b && ['/', '//', '%'].includes(operator)) refuse('division by zero');
  switch (operator) {
    case '+':
      return exactly(
        a,
        b,
        (x, y) => x + y,
        (x, y) => x + y,
      );
    case '-':
      return exactly(
        a,
        b,
        (x, y) => x - y,
        (x, y) => x - y,
      );
    case '*':
      return exactly(
        a,
        b,
        (x, y) => x * y,
        (x, y) => x * y,
      );
    case '%':
      return exactly(a, b, remainder, wideRemainder);
    case '//':
      return exactly(
        a,
        b,
        (x, y) => (x - remainder(x, y)) / y,
        (x, y) => (x - wideRemainder(x, y)) / y,
      );
    case '/':
      if (!isSmall(a, b)) refuse('a division of whole numbers beyond 2 ** 53');
      return float(Number(a) / Number(b));
    default:
      return power(a, b);
  }
}

function repeated(value: string | readonly unknown[], times: Int): string | unknown[] {
  const count = Math.max(0, Number(times));
  if (value.length * count > LONGEST) refuse(`what has ${value.length} parts is repeated ${count} times`);
  if (typeof value === 'string') return value.repeat(count);
  return Array.from({ length: count }, () => value).flat();
}

/** `a operator b` for `+ - * / // % **`. */
export function arithmetic(operator: string, a: unknown, b: unknown): unknown {
  if (isNumber(a) && isNumber(b)) {
    return isFloat(a) || isFloat(b) ? floats(operator, asFloat(a), asFloat(b)) : ints(operator, a as Int, b as Int);
  }
  if (a instanceof Markup || b instanceof Markup) refuse(`'${operator}' with a Markup`);
  if (operator === '%' && typeof a === 'string') return percent(a, defined(b));
  if (operator === '+') {
    if (typeof a === 'string' && typeof b === 'string') return a + b;
    if (Array.isArray(a) && Array.isArray(b)) return [...a, ...b];
    if (a instanceof Tuple && b instanceof Tuple) return new Tuple([...a.items, ...b.items]);
  }
  if (operator === '*') {
    for (const [value, times] of [
      [a, b],
      [b, a],
    ]) {
      if (!isInt(times)) continue;
      if (typeof value === 'string' || Array.isArray(value)) return repeated(value, times);
      if (value instanceof Tuple) return new Tuple(repeated(value.items, times) as unknown[]);
    }
  }
  for (const value of [a, b]) defined(value);
  return refuse(`unsupported operand types for ${operator}: ${typeName(a)} and ${typeName(b)}`);
}

function asFloat(value: unknown): number {
  const number = Number(value);
  if (typeof value === 'bigint' && !Number.isFinite(number)) refuse('a whole number too large for a float');
  return number;
}

export function negative(value: unknown): unknown {
  if (isFloat(value)) return float(-Number(value));
  if (isInt(value))
    return exactly(
      0,
      value,
      (x, y) => x - y,
      (x, y) => x - y,
    );
  defined(value);
  return refuse(`- of a ${typeName(value)}`);
}

/** `round(value, digits)`: exact ties go to the even digit. */
export function rounded(value: unknown, digits: number): unknown {
  if (isInt(value)) {
    if (digits >= 0) return int(big(value));
    const unit = 10n ** BigInt(-digits);
    const rest = wideRemainder(big(value), unit);
    const down = big(value) - rest;
    const isUp = rest * 2n > unit || (rest * 2n === unit && (down / unit) % 2n !== 0n);
    return int(isUp ? down + unit : down);
  }
  if (!isFloat(value)) return refuse(`round of a ${typeName(defined(value))}`);
  return float(roundedFloat(Number(value), digits));
}

function roundedFloat(value: number, digits: number): number {
  if (digits < 0 || digits > 22) refuse(`round to ${digits} digits`);
  return Math.abs(value) >= 1e21 || !Number.isFinite(value) ? value : Number(fixed(value, digits));
}
