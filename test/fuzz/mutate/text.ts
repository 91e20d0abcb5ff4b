/** Texts in lines and words: YAML, jinja, CSV, TSV. Changes move, repeat, drop and replace words and lines, or put in what the format is known for. */

import type { Random } from '../../../src/core/random.js';
import { mutateBytes } from './bytes.js';
import { ODD_NUMBERS, ODD_TEXTS, oneIn, pick } from './odd.js';

/** What a format has beyond plain words, and where readers differ. */
export const YAML_PIECES: readonly string[] = [
  ...[
    '&a ',
    '*a',
    '&a [*a]',
    '<<: *a',
    '<<: {a: 1}',
    '!!binary aGk=',
    '!!float 1',
    '!!str ',
    '!!python/object:os.system x',
    '!x ',
  ],
  ...[
    '? [a, b]\n: c',
    '---\n',
    '...\n',
    '\t',
    '|\n  x',
    '>-\n  x',
    '.inf',
    '-.inf',
    '.nan',
    '0o17',
    '0x1f',
    '1:30',
    '1_000',
    '1e3',
  ],
  ...[
    'yes',
    'no',
    'on',
    'null',
    '~',
    '2024-01-01',
    '2024-01-01T00:00:00Z',
    '[',
    ']',
    '{',
    '}',
    '{a: 1, a: 2}',
    '"\\ud800"',
  ],
  ...[
    '%YAML 1.1\n---\n',
    '# x\n',
    ': ',
    '- ',
    '- - - ',
    '[[[[[[',
    '{a: {b: {c: ',
    'a: &b {<<: *b}',
    '? ',
    '&a &b x',
    "'",
    '"\\x00"',
  ],
  '&a [1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: [*c,*c,*c,*c,*c,*c,*c,*c,*c]',
];
export const JINJA_PIECES: readonly string[] = [
  ...[
    '{{ x }}',
    '{{ messages }}',
    '{{ messages[0] }}',
    '{{ messages[0].content * 3 }}',
    '{{ bos_token }}',
    "{{ 'a' ~ 1 }}",
    '{{ 1/0 }}',
  ],
  ...[
    '{% for m in messages %}',
    '{% endfor %}',
    '{% if true %}',
    '{% endif %}',
    '{% set x = 1 %}',
    '{% set ns = namespace(a=1) %}',
  ],
  ...[
    '{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}',
    '{% raw %}',
    '{%- -%}',
    '{# x #}',
    '{{ raise_exception("x") }}',
    '{% break %}',
  ],
  ...[
    '{{ range(100000) | length }}',
    '{{ [1,2] | join(",") }}',
    '{{ "x" | upper }}',
    '{{ x.y.z }}',
    '{{ none.x }}',
    '{{ messages | tojson }}',
  ],
  ...[
    '{{ "%s" % "a" }}',
    '{{ (1).__class__ }}',
    '{{ constructor }}',
    '{{ messages.constructor }}',
    '{{ "a".split() }}',
    '{{ x | nofilter }}',
  ],
  ...[
    '{{ strftime_now("%Y") }}',
    '{% generation %}x{% endgeneration %}',
    '{{ "a" * 100000 }}',
    '{{ dict(a=1).items() }}',
    '{{ not }}',
    '{{ a[1:2:0] }}',
  ],
];
export const TABLE_PIECES: readonly string[] = [
  ...[
    '"',
    '""',
    '"a\nb"',
    ',',
    ',,,',
    '\t',
    ';',
    '\r',
    '\r\n',
    '\n\n',
    '"a"b',
    '\ufeff',
    "'",
    '#',
    '\0',
    ' "x"',
    '"unclosed',
  ],
  ...[
    '{"prompt": "a", "completion": "b"}\n',
    '[]',
    '{}',
    '1',
    'null\n',
    '{"a":1,"a":2}\n',
    '{"prompt": 1}\n',
    '\u2028',
    '\u0085',
  ],
];

/** Every text file: one change to its words or lines; now and then to its bytes. */
export function mutateText(bytes: Buffer, random: Random, pieces: readonly string[]): Buffer {
  if (oneIn(random, 14)) return mutateBytes(bytes, random);
  const text = bytes.toString('utf8');
  const unit = oneIn(random, 3) ? /[^\n]*\n?/g : /\w+|[^\S\n]+|\n|[^\w\s]/gu;
  const tokens = (text.match(unit) ?? []).filter((token) => token !== '');
  const at = random.int(tokens.length + 1);
  const count = 1 + random.int(pick(random, [1, 3, 12]));
  const put = (...items: string[]) => tokens.splice(at, 0, ...items);
  switch (random.int(10)) {
    case 0:
      tokens.splice(at, count);
      break;
    case 1:
      put(...tokens.slice(at, at + count));
      break;
    case 2: {
      const from = random.int(tokens.length + 1);
      put(...tokens.slice(from, from + count));
      break;
    }
    case 3:
    case 4:
    case 5:
      tokens.splice(at, oneIn(random, 2) ? 0 : count, pick(random, pieces));
      break;
    case 6:
      tokens.splice(at, 1, pick(random, ODD_TEXTS));
      break;
    case 7:
      tokens.splice(at, 1, pick(random, ODD_NUMBERS));
      break;
    case 8: {
      const other = random.int(tokens.length + 1);
      if (tokens[at] !== undefined && tokens[other] !== undefined)
        [tokens[at], tokens[other]] = [tokens[other], tokens[at]];
      break;
    }
    default:
      put(
        ...Array.from({ length: pick(random, [5, 50, 400]) }, () => tokens.slice(at, at + count))
          .flat()
          .slice(0, 4000),
      );
  }
  return Buffer.from(tokens.join(''));
}
