import { describe, expect, it } from 'vitest';
import { textTemplate, valueTemplate } from '../../src/data/template.js';
import { errorOf } from '../helpers/files.js';

const text = (source: string, record: Record<string, unknown>) => textTemplate(source, 'a.yaml')(record);
const value = (source: string, record: Record<string, unknown>) => valueTemplate(source, 'a.yaml')(record);

describe('a text template', () => {
  it('fills in fields', () => {
    expect(text('Q: {{q}}\nA:', { q: 'why?' })).toBe('Q: why?\nA:');
    expect(text('{{ q.strip() }} {{ n }}', { q: ' a ', n: 2 })).toBe('a 2');
  });

  it('gives a field when it is only the name of one', () => {
    expect(text('q', { q: '{{x}}' })).toBe('{{x}}');
    expect(text('q', { other: '' })).toBe('q');
    expect(() => text('q', { q: 3 })).toThrow('field "q" is not text');
  });

  it('does not take braces in the data for a template', () => {
    expect(text('{{q}}', { q: '{{ q }} {% if %}' })).toBe('{{ q }} {% if %}');
  });

  it('fails for a field that the record lacks', () => {
    expect(() => text('{{q}} {{z}}', { q: '' })).toThrow('has no field "z" (it has q)');
    expect(() => text('{% if z %}x{% endif %}', {})).toThrow('"z"');
    expect(() => text('{{ q | replace(z, "") }}', { q: '' })).toThrow('"z"');
    expect(() => text('{{ {"k": z}["k"] }}', {})).toThrow('"z"');
    expect(() => text('{{ q[z] }}', { q: [] })).toThrow('"z"');
  });

  it('knows names that the template itself makes, and names of members and filters', () => {
    expect(text('{% for x in q %}{{ loop.index }}{{x}}{% endfor %}', { q: ['a', 'b'] })).toBe('1a2b');
    expect(text('{% set p = q.split(" ") %}{{ p[1] }}', { q: 'a b' })).toBe('b');
    expect(text('{{ q | upper }}{{ q.upper() }}', { q: 'a' })).toBe('AA');
    expect(text('{% for i in range(2) %}{{i}}{% endfor %}{{ "t" if true else "f" }}', {})).toBe('01t');
    expect(text('{% if q is defined and q is string %}s{% endif %}', { q: 'a' })).toBe('s');
  });

  it('with a syntax error is refused before any data', () => {
    const error = errorOf(() => textTemplate('{{ q', 'a.yaml: doc_to_text'));
    expect(error.code).toBe('yaml-invalid');
    expect(error.message).toContain('a.yaml: doc_to_text');
  });
});

describe('a value template', () => {
  it('gives lists and numbers as such', () => {
    expect(value('{{choices}}', { choices: ['a "b"', 'c'] })).toEqual(['a "b"', 'c']);
    expect(value('{{ answer }}', { answer: 2 })).toBe(2);
    expect(value("{{ q.split('/') }}", { q: 'x/y' })).toEqual(['x', 'y']);
    expect(value('choices', { choices: 'text' })).toBe('text');
  });

  it('gives text when it is more than one expression', () => {
    expect(value('{{a}} and {{b}}', { a: 1, b: 2 })).toBe('1 and 2');
    expect(value('plain', {})).toBe('plain');
  });
});
