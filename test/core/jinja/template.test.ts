import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import type { Dialect } from '../../../src/core/jinja/dialect.js';
import { compileTemplate } from '../../../src/core/jinja/template.js';
import { fromJson, TemplateError } from '../../../src/core/jinja/values.js';
import { withNumbersKept } from '../../../src/data/numbers.js';

type Outcome = { text: string } | { error: string };
interface Case {
  template: string;
  /** Without the values, whose names hide jinja2's functions. */
  bare?: true;
  data: Outcome;
  chat: Outcome;
}

/** Made by scripts/fixtures/jinja_templates.py. */
const path = fileURLToPath(new URL('../../fixtures/jinja/templates.json', import.meta.url));
const { values, cases } = withNumbersKept(readFileSync(path, 'utf8'), JSON.parse) as {
  values: Record<string, unknown>;
  cases: Case[];
};

function rendered(source: string, dialect: Dialect, given: Record<string, unknown> = {}): string {
  const variables = new Map(Object.entries(given).map(([name, value]) => [name, fromJson(value)]));
  return compileTemplate(source, dialect).render((name) => variables.get(name));
}

/** What jinja2 renders and we do not: their texts are addresses, or need what has no use in a template. */
const REFUSED = [
  '{{ n is sameas none ~ none_ is sameas none }}',
  '{{ t.encode() }}',
  '{{ 5.real }}',
  "{{ ''.__class__ }}",
  '{{ [missing] }}',
  '{{ range }}',
  '{{ namespace }}',
  '{{ dict }}',
  "{{ {'a': 1}[missing] }}",
];

describe.each(['data', 'chat'] as const)("jinja2's own outcomes, of %s", (kind) => {
  const dialect = kind === 'data' ? 'dataSet' : 'chat';

  it.each(cases.filter(({ template }) => !REFUSED.includes(template)))(
    '$template',
    ({ template, bare, ...outcomes }) => {
      const outcome = outcomes[kind];
      const render = () => rendered(template, dialect, bare ? {} : values);
      if ('text' in outcome) expect(render()).toBe(outcome.text);
      else expect(render).toThrow(Error);
    },
  );

  it.each(REFUSED)('%s is refused', (template) => {
    const { bare } = cases.find((one) => one.template === template)!;
    let text: string;
    try {
      text = rendered(template, dialect, bare ? {} : values);
    } catch {
      return;
    }
    expect({ text }).toEqual(cases.find((one) => one.template === template)![kind]);
  });
});

describe('a template', () => {
  it.each([
    ['{{ x|escape }}', 'the filter "escape" is not supported'],
    ['{{ x is escaped }}', 'the test "escaped" is not supported'],
    ['{{ x.casefold() }}', 'str.casefold is not supported'],
    ['{{ lipsum() }}', 'random'],
    ['{% include "x" %}', 'include'],
    ['{{ x|map("upper") }}', 'a generator is written as text'],
    ['{{ "a" * 999999999 }}', 'repeated'],
    ['{{ 10 ** 99999 }}', 'too large'],
    ['{{ range(9999999)|list }}', 'range() of 9999999 numbers'],
    [`{{ ${'('.repeat(5000)}1${')'.repeat(5000)} }}`, 'levels'],
    [`{{ 1${' + 1'.repeat(50_000)} }}`, 'too deep'],
    ['{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}', 'too deep'],
    [`{{ ${'not '.repeat(5000)}1 }}`, 'levels'],
    [`{{ ${'-'.repeat(5000)}1 }}`, 'levels'],
  ])('refuses %.40s by name', (source, name) => {
    expect(() => rendered(source, 'dataSet', { x: 'a' })).toThrow(name);
  });

  // What jinja2 3.1 renders: of 21,000 expressions made of 31 values and all filters, tests, methods and operators, those that differed.
  it.each([
    [
      '{{ range(10)[2:4] }} {{ range(10)[::-1] }} {{ range(0, 10, 3)[1:3] }}',
      'range(2, 4) range(9, -1, -1) range(3, 9, 3)',
    ],
    ['{{ 1 % n }} {{ 2.5 % n }} {{ -0.0 % i }} {{ -3 % i }}', 'nan nan 0.0 inf'],
    ['{{ -3 // i }} {{ -0.0 // -3 }} {{ 7.5 // -2 }} {{ 0.0 // -2 }}', '-1.0 0.0 -4.0 -0.0'],
    ['{{ 1 ** n }} {{ 1 ** i }} {{ m ** i }} {{ 2 ** n }}', '1.0 1.0 1.0 nan'],
    [
      "{{ ['b', 'a']|truncate(5) }} {{ {'a': 1}|truncate(4) }} {{ 'a b c d e f g'|truncate(6, leeway=0) }}",
      "['b', 'a'] {'a': 1} a...",
    ],
  ])('%s is written as by Python', (source, text) => {
    expect(rendered(source, 'dataSet', { n: Number.NaN, i: Number.POSITIVE_INFINITY, m: -1 })).toBe(text);
  });

  it('throws errors of its own for what a value cannot do', () => {
    expect(() => rendered('{{ a.b.c }}', 'chat', { a: {} })).toThrow(TemplateError);
  });
});
