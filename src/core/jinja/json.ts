/** `json.dumps` of Python. */

import { defined, isFloat, isInt, listOf, order, refuse, str, Tuple, typeName } from './values.js';

/** `json.dumps`; @param isAscii whether letters beyond ASCII are escaped */
export function jsonOf(
  value: unknown,
  isAscii: boolean,
  sorts: boolean,
  indent: string | undefined,
  level = 0,
): string {
  const write = (one: unknown) => jsonOf(one, isAscii, sorts, indent, level + 1);
  const wrapped = (open: string, parts: readonly string[], close: string): string => {
    if (parts.length === 0) return open + close;
    if (indent === undefined) return open + parts.join(', ') + close;
    const line = `\n${indent.repeat(level + 1)}`;
    return `${open}${line}${parts.join(`,${line}`)}\n${indent.repeat(level)}${close}`;
  };
  if (typeof value === 'string') {
    const text = JSON.stringify(value);
    if (!isAscii) return text;
    return text.replace(/[\x80-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
  }
  if (value === null) return 'null';
  if (typeof value === 'boolean') return String(value);
  if (isFloat(value)) {
    const special = { NaN: 'NaN', Infinity: 'Infinity', '-Infinity': '-Infinity' }[String(Number(value))];
    return special ?? str(value);
  }
  if (isInt(value)) return String(value);
  if (Array.isArray(value) || value instanceof Tuple) return wrapped('[', listOf(value).map(write), ']');
  if (!(value instanceof Map)) return refuse(`tojson of a ${typeName(defined(value))}`);
  const pairs = sorts ? [...value].sort(([a], [b]) => order(a, b)) : [...value];
  return wrapped(
    '{',
    pairs.map(([key, one]) => {
      if (typeof key !== 'string') refuse('tojson of a dict whose keys are no texts');
      return `${jsonOf(key, isAscii, sorts, indent)}: ${write(one)}`;
    }),
    '}',
  );
}
