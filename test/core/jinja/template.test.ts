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

  it('throws errors of its own for what a value cannot do', () => {
    expect(() => rendered('{{ a.b.c }}', 'chat', { a: {} })).toThrow(TemplateError);
  });
});
