import { describe, expect, it } from 'vitest';
import { isSmallTemplate } from '../../../src/core/jinja/small.js';

describe('a template that cannot run away', () => {
  it.each([
    'Question: {{ question }}\nAnswer:',
    '{{ a.b[0] }}{% if c is defined %}x{% endif %}',
    "{{ text.strip() ~ ': ' ~ label|upper }}",
    '{{ choices[answer] }}{{ ["no", "yes"][label] }}',
    "{{ 'a' if x == 1 and not y else z|trim }}",
  ])('is one that reads its fields: %s', (source) => {
    expect(isSmallTemplate(source, 'dataSet')).toBe(true);
  });

  it.each([
    '{% for x in list %}{{ x }}{% endfor %}',
    '{% set a = b %}{{ a }}',
    '{% macro m() %}{% endmacro %}{{ m() }}',
    "{{ 'a' * 99999999 }}",
    '{{ 9 ** 9 }}',
    "{{ '%9999999d' % 1 }}",
    "{{ a.replace('', 'xxxx') }}",
    '{{ a.ljust(999999999) }}',
    '{{ a|center(999999999) }}',
    "{{ a | regex_replace('(a+)+$', '') }}",
    '{{ range(9)|list }}',
    '{{ f(*a) }}',
    '{{ a.strip(*b) }}',
    `{{ ${'a ~ '.repeat(300)}a }}`,
    '{{ a[::2] }}',
    '{% for %}',
  ])('is none with loops, products and other calls: %s', (source) => {
    expect(isSmallTemplate(source, 'dataSet')).toBe(false);
  });
});
