/** Python's ways of writing values into texts: `%`, `str.format` and the format specifications that both share. */

import { fixed, floatText } from './float-text.js';
import { getKey, hasKey, isFloat, isInt, refuse, repr, sizeOf, str, Tuple, typeName } from './values.js';

interface Specification {
  fill: string;
  align: string;
  sign: string;
  width: number;
  grouping: string;
  precision: number | undefined;
  type: string;
}

/** `format(value, specification)` */
function formatted(value: unknown, specification: string): string {
  if (specification === '') return str(value);
  const pattern = /^(?:([\s\S]?)([<>=^]))?([-+ ]?)(0?)(\d*)([,_]?)(?:\.(\d+))?([a-zA-Z%]?)$/u;
  const found = pattern.exec(specification);
  if (found === null) return refuse(`the format "${specification}"`);
  const [, fill, align, sign, zero, width, grouping, precision, type] = found;
  const isNumeric = isInt(value) || isFloat(value);
  return written(value, {
    fill: fill || (zero === '0' && align === undefined ? '0' : ' '),
    align: align ?? (zero === '0' && isNumeric ? '=' : isNumeric && typeof value !== 'boolean' ? '>' : '<'),
    sign: sign!,
    width: Number(width),
    grouping: grouping!,
    precision: precision === undefined ? undefined : Number(precision),
    type: type!,
  });
}

function written(value: unknown, form: Specification): string {
  const { type, precision, sign, grouping } = form;
  if (precision !== undefined && precision > 50) refuse(`a precision of ${precision}`);
  if (typeof value === 'string') {
    if (!['', 's'].includes(type) || sign || grouping || form.align === '=') refuse(`the format "${type}" of a text`);
    return padded('', precision === undefined ? value : [...value].slice(0, precision).join(''), form);
  }
  if (!isInt(value) && !isFloat(value)) return refuse(`a format of a ${typeName(value)}`);
  if (typeof value === 'boolean' && (type === '' || type === 's')) return refuse('a format of a bool');
  const isNegative = Number(value) < 0 || Object.is(Number(value), -0);
  const digits = grouped(isInt(value) ? ofInt(value, form) : ofFloat(Math.abs(Number(value)), form), grouping);
  return padded(isNegative ? '-' : sign === '-' ? '' : sign, digits, form);
}

function ofInt(value: number | bigint | boolean, form: Specification): string {
  const { type, precision } = form;
  const bases: Record<string, number> = { '': 10, d: 10, x: 16, X: 16, o: 8, b: 2 };
  const base = bases[type];
  if (base === undefined) return ofFloat(Math.abs(Number(value)), form);
  if (precision !== undefined) refuse('a precision of a whole number');
  const size = BigInt(value) < 0n ? -BigInt(value) : BigInt(value);
  return type === 'X' ? size.toString(base).toUpperCase() : size.toString(base);
}

/** @param value not negative */
function ofFloat(value: number, { type, precision }: Specification): string {
  if (!Number.isFinite(value)) return floatText(value) + (type === '%' ? '%' : '');
  const digits = precision ?? 6;
  if (type === 'f' || type === 'F') return fixed(value, digits);
  if (type === '%') return `${fixed(value * 100, digits)}%`;
  if (type === '' && precision === undefined) return floatText(value);
  if (type === 'e' || type === 'E') return exponential(value, digits, type);
  if (type === 'g') return general(value, digits || 1);
  return refuse(`the format "${type}" of a number`);
}

function exponential(value: number, digits: number, letter: string): string {
  const [head, exponent] = value.toExponential(digits).split('e') as [string, string];
  return `${head}${letter}${exponent[0]}${exponent.slice(1).padStart(2, '0')}`;
}

function general(value: number, digits: number): string {
  const exponent = value === 0 ? 0 : Number(value.toExponential(digits - 1).split('e')[1]);
  const isPlain = exponent >= -4 && exponent < digits;
  const [head, tail = ''] = (isPlain ? fixed(value, digits - 1 - exponent) : exponential(value, digits - 1, 'e')).split(
    'e',
  );
  const short = head!.includes('.') ? head!.replace(/\.?0+$/, '') : head!;
  return tail === '' ? short : `${short}e${tail}`;
}

function grouped(digits: string, separator: string): string {
  if (separator === '') return digits;
  return digits.replace(/^\d+/, (whole) => whole.replace(/\B(?=(?:\d{3})+$)/g, separator));
}

function padded(sign: string, digits: string, { fill, align, width, grouping }: Specification): string {
  const missing = width - sizeOf(sign + digits);
  if (missing <= 0) return sign + digits;
  if (missing > 10_000) refuse(`a width of ${width}`);
  if (align === '=' && fill === '0' && grouping !== '') refuse('zeros in groups');
  const left = align === '<' ? 0 : align === '^' ? Math.floor(missing / 2) : missing;
  const before = fill.repeat(left);
  return align === '=' ? sign + before + digits : before + sign + digits + fill.repeat(missing - left);
}

/** `text % values` */
export function percent(text: string, values: unknown): string {
  const list = values instanceof Tuple ? values.items : [values];
  let used = 0;
  const made = text.replace(
    /%(?:\((.*?)\))?([-#0 +]*)(\d*)(?:\.(\d+))?([\s\S]?)/gu,
    (whole, name, flags: string, width, precision, type: string) => {
      if (whole === '%%') return '%';
      if (name === undefined && used >= list.length) refuse('not enough values for %');
      if (name !== undefined && !(values instanceof Map && hasKey(values, name))) refuse(`%(${name}) without a value`);
      const value = name === undefined ? list[used++] : getKey(values as Map<unknown, unknown>, name);
      const form: Specification = {
        fill: flags.includes('0') && !flags.includes('-') && !'sr'.includes(type) ? '0' : ' ',
        align: flags.includes('-') ? '<' : flags.includes('0') && !'sr'.includes(type) ? '=' : '>',
        sign: flags.includes('+') ? '+' : flags.includes(' ') ? ' ' : '',
        width: Number(width),
        grouping: '',
        precision: precision === undefined ? undefined : Number(precision),
        type,
      };
      if (flags.includes('#')) return refuse(`the format ${whole}`);
      if (type === 's' || type === 'r')
        return written(type === 's' ? str(value) : repr(value), { ...form, type: 's', sign: '' });
      if (!isInt(value) && !isFloat(value)) return refuse(`${whole} of a ${typeName(value)}`);
      if (type === 'd' || type === 'i') {
        if (!Number.isFinite(Number(value))) refuse(`${whole} of what is not finite`);
        const size = isFloat(value) ? BigInt(Math.trunc(Number(value))) : BigInt(value);
        return written(size, { ...form, type: 'd' });
      }
      if (!'feEgxXo'.includes(type) || type === '' || ('xXo'.includes(type) && !isInt(value)))
        refuse(`the format ${whole}`);
      return written(typeof value === 'boolean' ? Number(value) : value, form);
    },
  );
  if (used < list.length && !(values instanceof Map || (Array.isArray(values) && used > 0))) {
    if (used > 0 || list.length > 0) refuse('more values than % uses');
  }
  return made;
}

/** `text.format(...)` */
export function formatMethod(
  text: string,
  positional: readonly unknown[],
  named: ReadonlyMap<string, unknown>,
  member: (value: unknown, name: string, isIndex: boolean) => unknown,
): string {
  let next = 0;
  return text.replace(/\{\{|\}\}|\{([^{}]*)\}|[{}]/g, (whole, field: string | undefined) => {
    if (whole === '{{' || whole === '}}') return whole[0]!;
    const parts = /^([^.[!:]*)((?:\.[^.[!:]+|\[[^\]]+\])*)(?:!([rs]))?(?::(.*))?$/s.exec(field ?? '');
    if (field === undefined || parts === null) return refuse(`format() of ${JSON.stringify(text.slice(0, 40))}`);
    const [, name, path, conversion, specification = ''] = parts;
    if (name !== '' ? /^\d/.test(name!) && next > 0 : next < 0) refuse('format() of numbered and unnumbered fields');
    if (/^\d/.test(name!)) next = -1;
    const key = name === '' ? String(next++) : name!;
    const isIndex = /^\d+$/.test(key);
    if (isIndex ? Number(key) >= positional.length : !named.has(key)) refuse(`format() without a value for {${key}}`);
    let value = isIndex ? positional[Number(key)] : named.get(key);
    for (const [, attribute, index] of path!.matchAll(/\.([^.[]+)|\[([^\]]+)\]/g)) {
      value = member(value, attribute ?? index!, attribute === undefined);
    }
    return formatted(conversion === 'r' ? repr(value) : conversion === 's' ? str(value) : value, specification);
  });
}
