import { describe, expect, it } from 'vitest';
import { renderTask, renderText, type TaskTemplates } from '../../src/data/template.js';
import { errorOf } from '../helpers/files.js';

type Fields = Record<string, unknown>;
const BASE = { where: 'a.yaml', isCsv: false, doc_to_text: 'Q', doc_to_target: 'A' };
const render = (task: Partial<TaskTemplates>, ...records: Fields[]) => renderTask({ ...BASE, ...task }, records);
const text = (source: string, record: Fields) => {
  const [made] = render({ doc_to_text: source }, record);
  if (typeof made === 'string') throw new Error(made);
  return made!.prompt;
};
const chosen = (task: Partial<TaskTemplates>, record: Fields) => {
  const [made] = render({ doc_to_choice: ['no', 'yes'], ...task }, record);
  return typeof made === 'string' ? made : made!.answer;
};

describe('a text template', () => {
  it('fills in fields', () => {
    expect(text('Q: {{q}}\nA:', { q: 'why?' })).toBe('Q: why?\nA:');
    expect(text('{{ q.strip() }} {{ n }}', { q: ' a ', n: 2 })).toBe('a 2');
  });

  it('gives a field when it is only the name of one', () => {
    expect(text('q', { q: '{{x}}' })).toBe('{{x}}');
    expect(text('q', { other: '' })).toBe('q');
    expect(() => text('q', { q: 3 })).toThrow('field "q" is 3, not text');
  });

  it('does not take braces in the data for a template', () => {
    expect(text('{{q}}', { q: '{{ q }} {% if %}' })).toBe('{{ q }} {% if %}');
  });

  it('fails for a field that the record lacks', () => {
    expect(() => text('{{q}} {{z}}', { q: '' })).toThrow('"z"');
    expect(() => text('{% if z %}x{% endif %}', {})).toThrow('"z"');
    expect(() => text('{{ q | replace(z, "") }}', { q: '' })).toThrow('"z"');
    expect(() => text('{{ {"k": z}["k"] }}', {})).toThrow('"z"');
    expect(() => text('{{ q[z] }}', { q: [] })).toThrow('"z"');
  });

  it('fails for a field that only other records have, and does not ask whether it is defined', () => {
    const sources = ['q', '{{q}}', '{% if q is defined %}a{% endif %}', "{{ q|default('x') }}"];
    for (const doc_to_text of sources) {
      const [first, second] = render({ doc_to_text }, { q: 'a' }, { z: 'b' });
      expect(first).toMatchObject({ prompt: 'a' });
      expect(second).toBe('has no field "q" (it has z)');
    }
    expect(text('{% if q is defined %}a{% else %}b{% endif %}', {})).toBe('b');
  });

  it('knows names that the template itself makes, and names of members and filters', () => {
    expect(text('{% for x in q %}{{ loop.index }}{{x}}{% endfor %}', { q: ['a', 'b'] })).toBe('1a2b');
    expect(text('{% set p = q.split(" ") %}{{ p[1] }}', { q: 'a b' })).toBe('b');
    expect(text('{% for i in range(2) %}{{i}}{% endfor %}{{ "t" if true else "f" }}', {})).toBe('01t');
  });

  it.each(['range', 'none', 'true', 'namespace', 'dict', 'loop', 'cycler', 'joiner', 'lipsum', 'self', '__proto__'])(
    'over a record with a column named %s',
    (name) => {
      const record = JSON.parse(`{"q": "a", "${name}": [3, 9]}`);
      expect(text('{{q}}', record)).toBe('a');
    },
  );

  it('takes a column before a global function of the name', () => {
    expect(text('{{ range[1] }} {{ namespace }}', { range: [3, 9], namespace: 'x' })).toBe('9 x');
    expect(text('{{ none }} {{ true }}', { none: 'x', true: 'y' })).toBe('None True'); // literals in Jinja
  });

  it.each(['{{ q', '{% if q %}', '{{ q|nothing }}', '{% include "q" %}', '{{ q is nothing }}'])(
    '%s is refused before any data',
    (source) => {
      const error = errorOf(() => render({ doc_to_text: source }));
      expect(error.code).toBe('yaml-invalid');
      expect(error.message).toContain('a.yaml: doc_to_text');
    },
  );

  it('over fields that are not there is an error of its file and key', () => {
    const error = errorOf(() => renderText('{{x}}', { kind: 'a' }, 'a.yaml: task'));
    expect(error.code).toBe('yaml-invalid');
    expect(error.message).toContain('a.yaml: task: "x"');
  });
});

describe('a target', () => {
  it('that names a field is a text of the choices, where it is text', () => {
    const record = { opts: ['3', '0', '1'], ans: '1' };
    expect(chosen({ doc_to_choice: '{{opts}}', doc_to_target: 'ans' }, record)).toBe(2);
    expect(chosen({ doc_to_choice: 'opts', doc_to_target: '{{ans}}' }, record)).toBe(1); // digits of a template
    expect(chosen({ doc_to_target: 'ans' }, { ans: '1' })).toContain('neither');
  });

  it('that names a field is an index, where it is a whole number', () => {
    expect(chosen({ doc_to_target: 'label' }, { label: 1 })).toBe(1);
    expect(chosen({ doc_to_target: 'label' }, { label: true })).toBe(1);
    expect(chosen({ doc_to_target: 'label', doc_to_choice: ['1', '2'] }, { label: 1 })).toBe(1);
    for (const label of [2, -1, 1.5, null, 'x', []])
      expect(chosen({ doc_to_target: 'label' }, { label })).toBeTypeOf('string');
  });

  it('of a CSV file, where all is text, is an index that is no choice, and refused where it is both', () => {
    const csv = { isCsv: true, doc_to_target: 'label' };
    expect(chosen(csv, { label: '1' })).toBe(1);
    expect(chosen({ ...csv, doc_to_choice: ['0', '1'] }, { label: '1' })).toBe(1);
    expect(chosen({ ...csv, doc_to_choice: ['1', '2'] }, { label: '1' })).toContain(
      'text of choice 0 and the index of choice 1',
    );
  });

  it('is one, and no list of several', () => {
    expect(chosen({ doc_to_target: 'all' }, { all: [1] })).toBe(1);
    expect(chosen({ doc_to_target: '{{all}}' }, { all: [1] })).toBe(1);
    expect(chosen({ doc_to_target: 'all' }, { all: [0, 1] })).toContain('2 right answers');
    expect(chosen({ doc_to_target: '{{all}}' }, { all: ['no', 'yes'] })).toContain('2 right answers');
    expect(chosen({ doc_to_target: 'x', doc_to_choice: ['x', 'y', 'x'] }, {})).toContain('several');
  });

  it.each(['007', '²', '٣'])('in the digits %s is no index', (digits) => {
    expect(chosen({ doc_to_target: '{{a}}' }, { a: digits })).toBeTypeOf('string');
  });

  it('without choices is a text, or a number as Python writes it', () => {
    const completion = (record: Fields, task = {}) => {
      const [made] = render({ doc_to_target: 'a', ...task }, record);
      return typeof made === 'string' ? made : made!.completion;
    };
    expect(completion({ a: 'x' })).toBe(' x');
    expect(completion({ a: 3 })).toBe(' 3');
    expect(completion({ a: Object(2) })).toBe(' 2.0');
    expect(completion({ a: 'x' }, { target_delimiter: '' })).toBe('x');
    expect(completion({ a: 'x' }, { output_type: 'loglikelihood' })).toBe('x');
    expect(completion({ a: 'x' }, { gen_prefix: 'So:' })).toBe(' x');
    expect(completion({ a: null })).toContain('the target is None');
    expect(completion({ a: ['x', 'y'] })).toContain('2 right answers');
  });
});

describe('choices', () => {
  const choices = (doc_to_choice: TaskTemplates['doc_to_choice'], record: Fields) => {
    const [made] = render({ doc_to_choice, doc_to_target: 0 }, record);
    return typeof made === 'string' ? made : made!.choices;
  };

  it('are a list, a field, a template that writes one, or the values of an object', () => {
    expect(choices(['a', 'b'], {})).toEqual([' a', ' b']);
    expect(choices({ x: 'a', y: 'b' }, {})).toEqual([' a', ' b']);
    expect(choices('c', { c: ['a', 'b'] })).toEqual([' a', ' b']);
    expect(choices('{{c}}', { c: ['it\'s "a"\n', 'b\\'] })).toEqual([' it\'s "a"\n', ' b\\']);
    expect(choices('["{{x}}", "b"]', { x: 'a' })).toEqual([' a', ' b']);
    expect(choices("('a', 'b')", {})).toEqual([' a', ' b']);
    expect(choices('{{ x.split("/") }}', { x: 'a/b' })).toEqual([' a', ' b']);
  });

  it.each([
    ['c', { c: 'text' }, 'choices are "text", expected a list'],
    ['{{c}}', { c: [1, 2] }, 'a choice is 1, expected text'],
    ['["{{c}}", "b"]', { c: 'a "quote"' }, 'no list of Python'],
    ['["a",]', {}, '1 choices'],
    ["[r'a', 'b']", {}, 'literal'],
    ['{{c}}', { c: ['a', null] }, 'a choice is None'],
  ])('%s is refused', (source, record, problem) => {
    expect(choices(source, record)).toContain(problem);
  });
});

describe('a prompt', () => {
  it('begins with the description and ends with the prefix of the answer', () => {
    const task = { description: 'About {{s}}.\n\n', doc_to_text: '{{q}}', gen_prefix: 'A:' };
    expect(render(task, { s: 'x', q: 'why?' })).toEqual([{ prompt: 'About x.\n\nwhy? A:', completion: ' A' }]);
    expect(render(task, { s: 'x', q: 'why?\n' })).toMatchObject([{ prompt: 'About x.\n\nwhy?\nA:' }]);
  });

  it('that is a number is several prompts to lm-evaluation-harness, beside choices', () => {
    expect(chosen({ doc_to_text: '{{n}}', doc_to_target: 0 }, { n: 1 })).toContain('several prompts');
    expect(text('{{n}}', { n: 1 })).toBe('1');
  });

  it('writes the numbers of a column alike', () => {
    expect(
      render(
        { doc_to_text: '{{w}} {{l}} {{d.x}}' },
        { w: 2, l: [1], d: { x: 1 } },
        { w: 0.5, l: [0.5], d: { x: 1 } },
      ).map((made) => (made as { prompt: string }).prompt),
    ).toEqual(['2.0 [1.0] 1', '0.5 [0.5] 1']);
  });
});
