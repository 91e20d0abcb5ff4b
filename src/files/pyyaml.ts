/**
 * What PyYAML, and lm-evaluation-harness with it, makes of a plain scalar by the rules of YAML 1.1 (yaml/resolver.py and
 * yaml/constructor.py of 6.0): `yes` is true there, 010 is eight and 1:30 ninety, which are a text, ten and a text in YAML 1.2.
 */

type Kind = 'a truth value' | 'a number' | 'a date' | 'null' | 'text' | 'nothing at all';

/** In the order in which they are tried. */
const RESOLVERS: ReadonlyArray<[RegExp, Kind]> = [
  [/^(?:yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF)$/, 'a truth value'],
  [/^(?:[-+]?\d[\d_]*\.[\d_]*(?:[eE][-+]\d+)?|\.\d[\d_]*(?:[eE][-+]\d+)?)$/, 'a number'],
  [/^(?:[-+]?\d[\d_]*(?::[0-5]?\d)+\.[\d_]*|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$/, 'a number'],
  [/^[-+]?(?:0b[01_]+|0[0-7_]+|0|[1-9][\d_]*|0x[\da-fA-F_]+|[1-9][\d_]*(?::[0-5]?\d)+)$/, 'a number'],
  [/^(?:~|null|Null|NULL|)$/, 'null'],
  [/^\d{4}-\d\d-\d\d$/, 'a date'],
  [/^\d{4}-\d\d?-\d\d?(?:[Tt]|[ \t]+)\d\d?:\d\d:\d\d(?:\.\d*)?(?:[ \t]*(?:Z|[-+]\d\d?(?::\d\d)?))?$/, 'a date'],
  [/^=$/, 'nothing at all'],
];

function kindOf(value: unknown): Kind {
  if (value === null) return 'null';
  return typeof value === 'number' ? 'a number' : typeof value === 'boolean' ? 'a truth value' : 'text';
}

/**
 * How PyYAML reads a plain scalar otherwise than YAML 1.2, in words; undefined where both read the same.
 *
 * @param source as it is written
 * @param value by YAML 1.2
 */
export function otherReading(source: string, value: unknown): string | undefined {
  const kind = RESOLVERS.find(([pattern]) => pattern.test(source))?.[1] ?? 'text';
  const here = kindOf(value);
  if (kind !== here) return `${here} in YAML 1.2, and ${kind} to PyYAML`;
  if (kind !== 'a number') return undefined;
  const octal = /^([-+]?)0([0-7]+)$/.exec(source);
  if (octal === null) return undefined;
  const number = Number.parseInt(octal[2]!, 8);
  return number === Math.abs(value as number) ? undefined : `${value} in YAML 1.2, and ${octal[1]}${number} to PyYAML`;
}
