import { describe, expect, it } from 'vitest';
import { renderTaskBounded, renderTextBounded } from '../../src/data/bounded-template.js';
import { renderTask } from '../../src/data/template.js';
import { errorOf } from '../helpers/files.js';

const task = { where: 'task.yaml', isCsv: false, doc_to_text: '{{ a }}: {{ b | upper }}', doc_to_target: 'c' };

describe('the templates of a data set, bounded', () => {
  it('give what they give unbounded, over any number of records and kinds of values', () => {
    const records = Array.from({ length: 1200 }, (_, i) => ({
      a: i,
      b: `text ${i}`,
      c: i % 7 === 0 ? 3 : `answer ${i}`,
    }));
    const mixed = [...records, { a: Object(2) as number, b: 'x'.repeat(2 ** 20), c: 'long' }, { a: 1, c: 'no b' }];
    const made = renderTaskBounded(task, mixed);
    expect(made).toEqual(renderTask(task, mixed));
    expect(made).toHaveLength(mixed.length);
    expect(made[1]).toMatchObject({ prompt: '1.0: TEXT 1' }); // one of the column is a float: all are
    expect(renderTaskBounded(task, [])).toEqual([]);
    expect(renderTextBounded('t-{{ a }}', { a: 'b' }, 'task.yaml: task')).toBe('t-b');
  });

  it('say what is wrong with a template, with records or without', () => {
    const broken = { ...task, doc_to_text: '{% for %}' };
    for (const records of [[], [{ a: 1 }]]) {
      const error = errorOf(() => renderTaskBounded(broken, records));
      expect([error.code, error.message]).toEqual(['yaml-invalid', expect.stringContaining('task.yaml: doc_to_text')]);
    }
  });

  const rows = '{% for i in range(1000000) %}';
  it.each([
    ['time', `${rows}${rows}{% endfor %}{% endfor %}`, /was stopped after 10 s/],
    [
      'memory',
      '{% set all = namespace(list=[1]) %}{% for i in range(60) %}{% set all.list = all.list + all.list %}{% endfor %}',
      /was stopped: it takes more than 256 MiB/,
    ],
  ])('are stopped when their %s is over', { tags: 'slow' }, (_, source, message) => {
    const error = errorOf(() => renderTaskBounded({ ...task, doc_to_text: source }, [{ a: 1, b: 'b', c: 'c' }]));
    expect([error.code, error.message]).toEqual(['yaml-invalid', expect.stringMatching(message)]);
    expect(error.message).toMatch(/^task.yaml: one of its templates \(doc_to_text, doc_to_target\)/);
  });
});
