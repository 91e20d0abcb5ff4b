/** Run directories that were cut short or changed by hand: an error that names file and line, never a crash or a wrong table. */

import { mkdirSync, readFileSync, rmSync, truncateSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readRun } from '../../../src/bench/report/read.js';
import { buildReport } from '../../../src/bench/report/report.js';
import type { CrayonError } from '../../../src/core/errors.js';
import { createRandom } from '../../../src/core/random.js';
import { smallRun, writeRun } from '../../helpers/bench-run.js';
import { errorOf, temporaryDir } from '../../helpers/files.js';

const CELL = 'cells/one-5-crayon-0.json';
const ANSWERS = 'answers/one-5-crayon-0.jsonl';

/** The error of reading a sound run in which one file was changed. */
function damaged(file: string, change: (text: string) => string | null): CrayonError {
  const dir = writeRun(temporaryDir(), smallRun());
  const path = join(dir, file);
  const changed = change(readFileSync(path, 'utf8'));
  if (changed === null) unlinkSync(path);
  else writeFileSync(path, changed);
  return errorOf(() => readRun(dir));
}

/** Replaces line `n`, counted from 1. */
const line = (n: number, by: (line: string) => string) => (text: string) =>
  text
    .split('\n')
    .map((content, i) => (i === n - 1 ? by(content) : content))
    .join('\n');

const key = (name: string, value: unknown) => (text: string) =>
  `${JSON.stringify({ ...JSON.parse(text), [name]: value }, null, 2)}\n`;

describe('a damaged run', () => {
  it.each([
    ['answers cut within a line', ANSWERS, (t: string) => t.slice(0, -20), 'json-invalid', /:4: the file ends within/],
    ['a line that is no JSON', ANSWERS, line(2, () => '{"id": oops}'), 'json-invalid', /:2: not valid JSON/],
    ['a line that is no object', ANSWERS, line(3, () => '[]'), 'bench-invalid', /:3: .*expected an object/],
    ['a line of null', ANSWERS, line(3, () => 'null'), 'bench-invalid', /:3: .*expected an object/],
    [
      'a score of 2',
      ANSWERS,
      line(1, (l) => l.replace('"correct":1', '"correct":2')),
      'bench-invalid',
      /:1: correct is 2/,
    ],
    [
      'a latency that is text',
      ANSWERS,
      line(2, (l) => l.replace(/"latencyMs":\d+/, '"latencyMs":"fast"')),
      'bench-invalid',
      /:2: latencyMs is "fast"/,
    ],
    [
      'a confidence of null',
      ANSWERS,
      line(2, (l) => l.replace(/"confidence":\d+/, '"confidence":null')),
      'bench-invalid',
      /:2: confidence is null/,
    ],
    [
      'an example twice',
      ANSWERS,
      line(3, (l) => l.replace('one:2', 'one:1')),
      'bench-invalid',
      /:3: example "one:1" occurs a second time/,
    ],
    [
      'a line taken out',
      ANSWERS,
      (t: string) => t.split('\n').slice(1).join('\n'),
      'bench-invalid',
      /:3: 3 answers, expected 4/,
    ],
    [
      'an answer turned',
      ANSWERS,
      line(4, (l) => l.replace('"correct":0', '"correct":1')),
      'bench-invalid',
      /1\.0000 of the answers are right/,
    ],
    ['empty answers', ANSWERS, () => '', 'bench-invalid', /0 answers, expected 4/],
    ['missing answers', ANSWERS, () => null, 'bench-invalid', /one-5-crayon-0\.jsonl, are missing/],
    [
      'a cell cut short',
      CELL,
      (t: string) => t.slice(0, 300),
      'json-invalid',
      /one-5-crayon-0\.json:\d+: not valid JSON/,
    ],
    ['an empty cell', CELL, () => '', 'json-invalid', /:1: not valid JSON/],
    [
      'an accuracy above one',
      CELL,
      key('accuracy', 1.5),
      'bench-invalid',
      /accuracy is 1\.5, expected a number from 0 to 1/,
    ],
    ['a table that is not known', CELL, key('table', 'other'), 'bench-invalid', /table is "other"/],
    ['a nested option', CELL, key('options', { tau: [1] }), 'bench-invalid', /options\.tau is \[1\]/],
    ['a coefficient of null', CELL, key('coefficients', [0.5, null]), 'bench-invalid', /coefficients\[1\] is null/],
    [
      'a key of another file',
      CELL,
      key('key', '../run'),
      'bench-invalid',
      /key is "\.\.\/run", expected "one-5-crayon-0"/,
    ],
    ['a manifest of a later version', 'run.json', key('version', 2), 'bench-invalid', /version is 2, expected 1/],
    [
      'a manifest of something else',
      'run.json',
      key('format', 'crayon-pool'),
      'bench-invalid',
      /format is "crayon-pool"/,
    ],
    ['a manifest that is a list', 'run.json', () => '[]', 'bench-invalid', /expected an object/],
    ['no manifest', 'run.json', () => null, 'file-not-found', /has no run\.json/],
    ['a start that is no date', 'run.json', key('started', 'soon'), 'bench-invalid', /started is "soon"/],
    [
      'a map with a point of text',
      'run.json',
      key('clusters', { points: [{ x: 'a' }], centroids: [] }),
      'bench-invalid',
      /points\[0\]\.x is "a"/,
    ],
  ] as const)('with %s', (_, file, change, code, message) => {
    const error = damaged(file, change as (text: string) => string | null);
    expect(error.code).toBe(code);
    expect(error.message).toMatch(message);
  });

  it('with bytes that are no UTF-8 names the file', () => {
    const dir = writeRun(temporaryDir(), smallRun());
    writeFileSync(join(dir, ANSWERS), Buffer.from([0xff, 0xfe, 0x0a]));
    expect(errorOf(() => readRun(dir))).toMatchObject({ code: 'json-invalid' });
  });

  it.each([
    [ANSWERS, line(2, () => '\u001b[2J{')],
    [CELL, () => '\u001b[2J{'],
    [CELL, key('key', '\u001b[2J')],
  ])('with a command to the terminal in %s does not pass it on', (file, change) => {
    expect(damaged(file, change).message).not.toContain('\u001b');
  });

  it('that is no directory, or holds no run, is refused', () => {
    const dir = temporaryDir();
    expect(errorOf(() => readRun(join(dir, 'none'))).code).toBe('file-not-found');
    expect(errorOf(() => readRun(dir)).message).toContain('has no run.json');
    writeFileSync(join(dir, 'file'), '');
    expect(errorOf(() => readRun(join(dir, 'file'))).code).toBe('file-unreadable');
  });

  it('where a cell is a directory names it', () => {
    const dir = writeRun(temporaryDir(), smallRun());
    mkdirSync(join(dir, 'cells', 'folder.json'));
    expect(errorOf(() => readRun(dir))).toMatchObject({ code: 'file-unreadable' });
  });

  it('cut at any byte is an error or a report, never anything else', { tags: 'slow' }, () => {
    const random = createRandom(11);
    for (const file of ['run.json', CELL, ANSWERS]) {
      const dir = writeRun(temporaryDir(), smallRun());
      const path = join(dir, file);
      const whole = readFileSync(path);
      for (let i = 0; i < 40; i++) {
        writeFileSync(path, whole);
        truncateSync(path, random.int(whole.length - 1));
        const { code, message } = errorOf(() => buildReport(readRun(dir), { resamples: 1 }));
        expect(['json-invalid', 'bench-invalid']).toContain(code);
        expect(message).toContain(file.replace(/^.*\//, ''));
      }
    }
  });
});

describe('what a stopped run leaves', () => {
  it('answers without a cell, and temporary files, are left out and said', () => {
    const dir = writeRun(temporaryDir(), smallRun());
    rmSync(join(dir, CELL));
    writeFileSync(join(dir, 'cells', '.one-5-crayon-0.json.tmp-1'), '{');
    const run = readRun(dir);
    expect(run.cells).toHaveLength(9);
    expect(run.complete).toBe(false);
    expect(run.remarks.join(' ')).toContain('Answers without a finished cell');
  });

  it('no cells at all is a run that has begun', () => {
    const dir = temporaryDir();
    const { manifest } = smallRun();
    writeFileSync(join(dir, 'run.json'), JSON.stringify({ ...manifest, finished: null }));
    expect(readRun(dir)).toMatchObject({ cells: [], load: [], complete: false });
  });

  it('keys that a later version adds are let through', () => {
    const contents = smallRun();
    Object.assign(contents.cells[0]!.cell, { later: { a: 1 } });
    expect(readRun(writeRun(temporaryDir(), contents)).cells).toHaveLength(10);
  });
});
