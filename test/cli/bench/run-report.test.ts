/** `crayon bench report` as a user runs it. */

import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { crayon, document, refusal, scratch } from '../../e2e/helpers.js';
import { answer, cell, HOSTILE, run, smallRun, user, writeRun } from '../../helpers/bench-run.js';

const folder = scratch();
const small = writeRun(join(folder, 'small'), smallRun());

describe('bench report', () => {
  it('prints the tables and writes both files into the run', async () => {
    const { code, stdout, stderr } = await crayon(['bench', 'report', small, '--resamples', '200']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    for (const title of [
      'Accuracy by strategy',
      'Differences, paired by example',
      'What it costs',
      'Hybrid, Crayon on the device',
    ]) {
      expect(stdout).toContain(title);
    }
    expect(stdout).toMatch(/│ Crayon +│ +2 │ +62\.5 \[/);
    expect(stdout).toMatch(/│ Crayon +│ +\+25\.0 \[.*│ +\+12\.5 \[/);
    expect(readFileSync(join(small, 'report.md'), 'utf8')).toMatch(/^# crayon bench: small\n/);
    expect(readFileSync(join(small, 'report.html'), 'utf8')).toMatch(/^<!doctype html>/);
  });

  it('gives the same bytes every time', async () => {
    const outs = ['once', 'twice'].map((name) => join(folder, name));
    for (const out of outs) await crayon(['bench', 'report', small, '--out', out]);
    for (const file of ['report.md', 'report.html']) {
      expect(readFileSync(join(outs[0]!, file))).toEqual(readFileSync(join(outs[1]!, file)));
    }
    expect(readdirSync(outs[0]!).sort()).toEqual(['report.html', 'report.md']);
  });

  it('--json gives one document of numbers', async () => {
    const report = await document<{
      strategies: Array<{ strategy: string; accuracy: { estimate: number } }>;
      files: object;
    }>(['bench', 'report', small, '--resamples', '200']);
    expect(report.strategies.map((row) => [row.strategy, row.accuracy.estimate])).toContainEqual(['crayon', 0.625]);
    expect(report.files).toEqual({ markdown: join(small, 'report.md'), html: join(small, 'report.html') });
  });

  it('--compare adds a table of differences, in all three', async () => {
    const contents = smallRun();
    contents.cells = contents.cells.map((own) =>
      own.cell.strategy === 'base'
        ? cell(
            own.cell.user,
            'base',
            own.answers.map((a) => ({ ...a, correct: 0 as const })),
          )
        : own,
    );
    const other = writeRun(join(folder, 'other'), contents);
    const out = join(folder, 'compared');
    const { code, stdout } = await crayon(['bench', 'report', small, '--compare', other, '--out', out]);
    expect(code).toBe(0);
    expect(stdout).toContain(`This run and ${other}`);
    expect(stdout).toMatch(/│ Base model +│ +2 │ +8 │ +12\.5 │ +0\.0 │ +\+12\.5 \[/);
    expect(readFileSync(join(out, 'report.md'), 'utf8')).toContain('This run and');
    expect(readFileSync(join(out, 'report.html'), 'utf8')).toContain('<section id="comparison">');
  });

  it('of a run that is not finished says so, and reports what there is', async () => {
    const contents = smallRun();
    const dir = writeRun(join(folder, 'unfinished'), {
      ...contents,
      manifest: { ...contents.manifest, finished: null, plannedCells: 40 },
    });
    const { code, stdout, stderr } = await crayon(['bench', 'report', dir]);
    expect(code).toBe(0);
    expect(stderr).toBe('Warning: This run has not finished: 10 of 40 cells are done.\n');
    expect(stdout).toContain('not finished');
    expect(readFileSync(join(dir, 'report.html'), 'utf8')).toContain('This run has not finished');
  });

  it('lets no name from a file reach the terminal as a command', async () => {
    const names = Object.values(HOSTILE);
    const cells = names.map((name, i) => cell(user(name), name, [answer('t', 0, 1)], { key: `c-${i}` }));
    const dir = writeRun(join(folder, 'hostile'), run(cells, { machine: HOSTILE.terminal }));
    const { code, stdout, stderr } = await crayon(['bench', 'report', dir]);
    expect(code).toBe(0);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not be there
    expect(stdout + stderr).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/);
  });

  it('of a damaged run is one error that names file and line, and writes nothing', async () => {
    const dir = writeRun(join(folder, 'damaged'), smallRun());
    const file = join(dir, 'answers', 'one-5-crayon-0.jsonl');
    writeFileSync(file, readFileSync(file, 'utf8').slice(0, -30));
    const error = await refusal(['bench', 'report', dir]);
    expect(error).toMatchObject({ code: 'json-invalid', exit: 3 });
    expect(error.message).toContain(`${file}:4:`);
    expect(existsSync(join(dir, 'report.html'))).toBe(false);
  });

  it.each([
    [['bench', 'report', join('no', 'such', 'run')], 'file-not-found', 3],
    [['bench', 'report', small, '--compare', join('no', 'such', 'run')], 'file-not-found', 3],
    [['bench', 'report', small, '--resamples', '5'], 'bad-option', 2],
    [['bench', 'report'], 'bad-option', 2],
  ])('%j is refused', async (argv, code, exit) => {
    expect(await refusal(argv)).toMatchObject({ code, exit });
  });

  it('of a run of other examples refuses the comparison', async () => {
    const other = writeRun(join(folder, 'others'), run([cell(user('v'), 'base', [answer('v', 0, 1)])]));
    const error = await refusal(['bench', 'report', small, '--compare', other]);
    expect(error.code).toBe('bench-invalid');
    expect(error.message).toContain('no strategy has an example in common');
  });
});
