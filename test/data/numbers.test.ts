import { describe, expect, it } from 'vitest';
import { fromJson, repr } from '../../src/core/jinja/values.js';
import { alike, withNumbersKept } from '../../src/data/numbers.js';

const python = (json: string) => repr(fromJson(withNumbersKept(json, JSON.parse)));

describe('numbers of JSON', () => {
  it.each([
    ['[2.0, 2, -0.0, 1e3, 1E-2, 0.5, 1.50]', '[2.0, 2, -0.0, 1000.0, 0.01, 0.5, 1.5]'],
    [
      '[12345678901234567890, -9007199254740993, 9007199254740991]',
      '[12345678901234567890, -9007199254740993, 9007199254740991]',
    ],
    ['{"a": {"b": [3.0]}, "c 1.0 \\" 2.0": "1.0"}', `{'a': {'b': [3.0]}, 'c 1.0 " 2.0': '1.0'}`],
    ['{"a": "a \\\\", "b": 1.0}', "{'a': 'a \\\\', 'b': 1.0}"],
    ['{"__proto__": 1.0}', "{'__proto__': 1.0}"],
    ['1.0', '1.0'],
    ['[true, null, "x"]', "[True, None, 'x']"],
  ])('%s is written %s', (json, text) => {
    expect(python(json)).toBe(text);
  });

  it('that are none are refused as JSON.parse refuses them', () => {
    for (const json of ['[1.0', '{"a": 01.0}', '[1.]', '[.5, 1.0]', '1.0 2']) {
      expect(() => withNumbersKept(json, JSON.parse)).toThrow(SyntaxError);
    }
  });

  it('of columns are of one kind', () => {
    const records = [
      { a: 1, b: 1, c: [1, 2] },
      { a: 0.5, b: 2, c: [] },
    ];
    expect(repr(fromJson(alike(records)))).toBe("[{'a': 1.0, 'b': 1, 'c': [1, 2]}, {'a': 0.5, 'b': 2, 'c': []}]");
    const plain = [{ a: 'x' }, { a: 1 }];
    expect(alike(plain)).toBe(plain);
  });
});
