/** jinja2's tests, what stands after `is`. Those that are not here are refused by their names. */

import { arithmetic } from './arithmetic.js';
import {
  contains,
  defined,
  equal,
  isFloat,
  isInt,
  isNumber,
  Markup,
  Members,
  Once,
  order,
  Range,
  refuse,
  str,
  Tuple,
  typeName,
  Undefined,
  View,
} from './values.js';

type Test = (value: unknown, ...args: unknown[]) => boolean;

const isOrdered =
  (operator: string, holds: (sign: number) => boolean): Test =>
  (value, other) =>
    holds(order(value, other, operator));
const equals: Test = (value, other) => equal(value, other);
const isText = (value: unknown) => typeof value === 'string' || value instanceof Markup;

const TESTS: Readonly<Record<string, Test>> = {
  ...{ '==': equals, eq: equals, equalto: equals },
  ...{ '!=': (value, other) => !equal(value, other), ne: (value, other) => !equal(value, other) },
  ...Object.fromEntries(
    [
      ['lt lessthan <', '<', (sign: number) => sign < 0],
      ['le <=', '<=', (sign: number) => sign <= 0],
      ['gt greaterthan >', '>', (sign: number) => sign > 0],
      ['ge >=', '>=', (sign: number) => sign >= 0],
    ].flatMap(([names, operator, holds]) =>
      (names as string).split(' ').map((name) => [name, isOrdered(operator as string, holds as never)]),
    ),
  ),
  boolean: (value) => typeof value === 'boolean',
  callable: (value) => typeof value === 'function' || (value instanceof Members && value.call !== undefined),
  defined: (value) => !(value instanceof Undefined),
  divisibleby: (value, by) => equal(arithmetic('%', value, by), 0),
  even: (value) => equal(arithmetic('%', value, 2), 0),
  false: (value) => value === false,
  float: isFloat,
  in: (value, list) => contains(list, value),
  integer: (value) => isInt(value) && typeof value !== 'boolean',
  iterable: (value) => {
    if (value instanceof Undefined && !value.isStrict) return true;
    return (
      isText(defined(value)) ||
      Array.isArray(value) ||
      [Tuple, Map, View, Once, Range].some((type) => value instanceof type)
    );
  },
  lower: (value) => str(value) === str(value).toLowerCase() && /\p{Cased}/u.test(str(value)),
  mapping: (value) => value instanceof Map,
  none: (value) => value === null,
  number: isNumber,
  odd: (value) => equal(arithmetic('%', value, 2), 1),
  sameas: (value, other) => {
    const isShared = ['string', 'number', 'bigint'].includes(typeof value) && value === other;
    return isShared ? refuse(`sameas of a ${typeName(value)}`) : value === other;
  },
  sequence: (value) => {
    if (value instanceof Undefined) return !value.isStrict || refuse(value.problem);
    return isText(value) || Array.isArray(value) || [Tuple, Map, Range].some((type) => value instanceof type);
  },
  string: isText,
  true: (value) => value === true,
  undefined: (value) => value instanceof Undefined,
  upper: (value) => str(value) === str(value).toUpperCase() && /\p{Cased}/u.test(str(value)),
};

export function testNamed(name: string): Test {
  return Object.hasOwn(TESTS, name) ? TESTS[name]! : refuse(`the test "${name}" is not supported`);
}
