/** Files of records: what stands twice in one, ends of lines, unnamed columns, numbers, and how many. */

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readRecords } from '../../src/data/record-file.js';
import { errorOf, temporaryDir } from '../helpers/files.js';
import { processorMs } from '../helpers/processor.js';

function read(format: 'json' | 'jsonl' | 'csv', text: string | Uint8Array, columns?: string[]) {
  const path = join(temporaryDir(), `a.${format}`);
  writeFileSync(path, text);
  return readRecords(path, format, { columns });
}

describe('a CSV file', () => {
  it.each<[string, string[] | undefined]>([
    ['prompt,completion,completion\nHow far?, a mile, WRONG\n', undefined],
    ['How far?, a mile, WRONG\n', ['prompt', 'completion', 'completion']],
  ])('with a column twice is refused by the name of the column', (text, columns) => {
    const error = errorOf(() => read('csv', text, columns));
    expect(error.code).toBe('csv-invalid');
    expect(error.message).toContain('the column "completion" stands twice');
  });

  it('may have columns without a name, which nobody can ask for', () => {
    expect(read('csv', ',prompt,completion,,\n0,p,c,,\n').records[0]!.record).toEqual({ prompt: 'p', completion: 'c' });
  });

  it.each([
    ['ragged', 'prompt,completion\np,c\np\n', /line 3/],
    ['with a quote within a field', 'prompt,completion\na "b" c,d\n', /Quote/],
    ['in UTF-16', Buffer.from('\ufeffprompt,completion\n', 'utf16le'), /UTF-16/],
    ['in Latin-1', Buffer.from('prompt,completion\ncaf\xe9,x\n', 'latin1'), /UTF-8/],
  ])('that is %s is refused', (_, text, message) => {
    const error = errorOf(() => read('csv', text));
    expect(error.code).toBe('csv-invalid');
    expect(error.message).toMatch(message);
  });
});

describe('a line of JSON', () => {
  it('with a key twice is bad, and its company is read', () => {
    const { records, bad } = read('jsonl', '{"prompt":"a","prompt":"b"}\n\n{"prompt":"c"}\r\n{"x":{"y":1,"y":2}}');
    expect(records.map(({ index, place }) => [index, place])).toEqual([[1, 'line 3']]);
    expect(bad).toEqual([
      { index: 0, place: 'line 1', problem: 'the key "prompt" stands twice in one object' },
      { index: 2, place: 'line 4', problem: 'the key "y" stands twice in one object' },
    ]);
  });

  it('may have numbers of any length, and those that only Python has', () => {
    const { records } = read('jsonl', '{"id":1234567890123456789,"score":NaN}\n');
    expect(records[0]!.record).toEqual({ id: 1234567890123456800, score: Number.NaN });
  });

  it('nested beyond measure is bad', () => {
    const { bad } = read('jsonl', `{"prompt":${'['.repeat(5000)}${']'.repeat(5000)}}\n{"prompt":${'['.repeat(5000)}`);
    expect(bad.map(({ problem }) => problem)).toEqual(Array(2).fill('nested more than 200 levels deep'));
  });
});

it('a JSON list with a key twice is refused, by the key', () => {
  const error = errorOf(() => read('json', '[{"prompt":"a"},{"completion":"a","completion":"b"}]'));
  expect(error.code).toBe('json-invalid');
  expect(error.message).toContain('the key "completion" stands twice');
});

it('many columns take time in proportion', () => {
  const row = (cell: (i: number) => string) => Array.from({ length: 20_000 }, (_, i) => cell(i)).join(',');
  const start = processorMs();
  expect(read('csv', `${row((i) => `c${i}`)}\n${row(String)}\n`).records).toHaveLength(1);
  expect(processorMs() - start).toBeLessThan(5000);
});
