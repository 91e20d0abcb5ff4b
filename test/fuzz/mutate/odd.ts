/** Values that readers stumble over, and draws among them: what the mutators of all formats put in place of something sound. */

import type { Random } from '../../../src/core/random.js';

/** One of a list, which is not empty. */
export const pick = <T>(random: Random, items: readonly T[]): T => items[random.int(items.length)]!;

/** True once in `n` times. */
export const oneIn = (random: Random, n: number): boolean => random.int(n) === 0;

/** Small numbers mostly: 0, 1, 2 ... with halving likelihood, below `most`. */
export function small(random: Random, most: number): number {
  let n = 0;
  while (n < most - 1 && random.int(2) === 0) n++;
  return n;
}

const LIMITS = [1, 2 ** 7, 2 ** 8, 2 ** 15, 2 ** 16, 2 ** 24, 2 ** 31, 2 ** 32, 2 ** 53];

/** Numbers at the ends of types, as JSON texts: some of them are no double, and some are no JSON. */
export const ODD_NUMBERS: readonly string[] = [
  ...LIMITS.flatMap((n) => [String(n), String(n - 1), String(-n)]),
  ...['9007199254740993', '18446744073709551615', '18446744073709551616', '9223372036854775807', '1e21', '1e308'],
  ...['1e400', '-1e400', '1e-400', '-0', '0.5', '1.5', '-1.5', '0.1', '3.4028235e38', '3.4028236e38', '1e39', '1e-46'],
  ...['100000', '1000000', '64', '65', '1e3', '1E3', '1e-7', 'NaN', 'Infinity', '0x10', '01', '1.', '+1'],
];

const DEEP = 3000;
const LONG = 5000;

/** Texts that are something else than they look. */
export const ODD_TEXTS: readonly string[] = [
  ...['', ' ', '\n', '\r\n', '\t', '\0', 'a\0b', '\u001b[31mred', '\u202egnp', '\ufeff', '\ufffd', '\ud800', '\udc00x'],
  ...['__proto__', 'constructor', 'prototype', 'toString', 'hasOwnProperty', 'valueOf', 'length', 'then'],
  ...['null', 'true', 'False', 'NaN', '0', '-1', '1e5', '0x1F', '1_000', '12:30', '2024-01-01', 'yes', 'no', '~'],
  ...['../../../etc/passwd', '/dev/zero', '/etc/passwd', 'a/b', 'a\\b', '.', '..', '*', 'C:\\x', 'file:///etc/passwd'],
  ...[
    '{{ x }}',
    '{% for i in range(3) %}x{% endfor %}',
    '{{',
    '%}',
    // biome-ignore lint/suspicious/noTemplateCurlyInString: a text as a file may have it
    '${x}',
    '<script>',
    '"',
    "'",
    '`',
    '\\',
    '\\u0000',
  ],
  ...['é', 'e\u0301', '日本語', '👩‍👩‍👧', 'ß', 'ı', 'İ', '\u2028', '\u0085', 'ＡＢ', '١٢'],
  ...['(a+)+$', '[', '(?<x>', '\\p{L}', '^.*$', '(?i)a'],
  'x'.repeat(LONG),
  ' '.repeat(LONG),
  'ab,'.repeat(LONG / 5),
];

/** Whole values as JSON texts: nothing, nests, and the above. */
export function oddJson(random: Random): string {
  switch (random.int(8)) {
    case 0:
      return pick(random, [
        'null',
        'true',
        'false',
        '[]',
        '{}',
        '[null]',
        '[[]]',
        '{"":0}',
        '[{}]',
        '{"__proto__":{"x":1}}',
      ]);
    case 1:
    case 2:
    case 3:
      return pick(random, ODD_NUMBERS);
    case 4:
    case 5:
    case 6:
      return JSON.stringify(pick(random, ODD_TEXTS));
    default: {
      const depth = pick(random, [3, 30, 600, DEEP]);
      const open = pick(random, ['[', '{"a":']);
      return open.repeat(depth) + (open === '[' ? '' : '1') + (open === '[' ? ']' : '}').repeat(depth);
    }
  }
}
