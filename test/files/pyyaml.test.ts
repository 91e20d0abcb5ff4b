/** Plain scalars as PyYAML 6.0 (CSafeLoader) reads them: its kinds and whole numbers are in the table, made by it. */

import { expect, it } from 'vitest';
import { parse } from 'yaml';
import { otherReading } from '../../src/files/pyyaml.js';

it.each<[source: string, kind: string, number?: number]>([
  ['yes', 'a truth value'],
  ['Yes', 'a truth value'],
  ['yEs', 'text'],
  ['no', 'a truth value'],
  ['on', 'a truth value'],
  ['off', 'a truth value'],
  ['y', 'text'],
  ['n', 'text'],
  ['true', 'a truth value'],
  ['TRUE', 'a truth value'],
  ['010', 'a number', 8],
  ['07', 'a number', 7],
  ['08', 'text'],
  ['+012', 'a number', 10],
  ['-017', 'a number', -15],
  ['1_000', 'a number', 1000],
  ['0b101', 'a number', 5],
  ['0o17', 'text'],
  ['0x1F', 'a number', 31],
  ['0x1_0', 'a number', 16],
  ['1:30', 'a number', 90],
  ['1:30.5', 'a number'],
  ['190:20:30', 'a number', 685230],
  ['1e5', 'text'],
  ['1.5e3', 'text'],
  ['1.5e+3', 'a number'],
  ['.5', 'a number'],
  ['-.5', 'text'],
  ['1.', 'a number'],
  ['1_0.5', 'a number'],
  ['12', 'a number', 12],
  ['-3', 'a number', -3],
  ['~', 'null'],
  ['null', 'null'],
  ['Null', 'null'],
  ['2001-12-14', 'a date'],
  ['2001-12-14t21:59:43.10-05:00', 'a date'],
  ['2001-1-1', 'text'],
  ['=', 'nothing at all'],
  ['.inf', 'a number'],
  ['-.INF', 'a number'],
  ['.nan', 'a number'],
  ['hello', 'text'],
  ['1.2.3', 'text'],
  ['10:99', 'text'],
  ['00', 'a number', 0],
  ['0', 'a number', 0],
  ['0_1', 'a number', 1],
  ['1__', 'a number', 1],
])('%s is %s to PyYAML', (source, kind, number) => {
  const [value] = parse(`[${source}]`) as unknown[];
  const here = { boolean: 'a truth value', number: 'a number', string: 'text', object: 'null' }[typeof value as string];
  const other = otherReading(source, value);
  if (kind !== here) expect(other).toBe(`${here} in YAML 1.2, and ${kind} to PyYAML`);
  else if (number !== undefined && number !== value) expect(other).toMatch(new RegExp(`and \\+?${number} to PyYAML`));
  else expect(other).toBeUndefined();
});
