/** Two runs side by side: shared examples only, and everything that was left out is said. */

import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { compareRuns, compareTables } from '../../../src/bench/report/compare.js';
import { readRun } from '../../../src/bench/report/read.js';
import { answer, cell, demoRun, type RunContents, run, smallRun, user, writeRun } from '../../helpers/bench-run.js';
import { errorOf, temporaryRoot } from '../../helpers/files.js';

const folder = temporaryRoot();
afterAll(() => rmSync(folder, { recursive: true, force: true }));
let runs = 0;
const read = (contents: RunContents) => readRun(writeRun(join(folder, `run-${runs++}`), contents));
const compare = (here: RunContents, there: RunContents) => compareRuns(read(here), read(there), { resamples: 200 });
const bits = (task: string, text: string) => [...text].map((bit, i) => answer(task, i, bit === '1' ? 1 : 0));
const who = user('u');

describe('a run compared with another', () => {
  it('is paired by example, per strategy and per user', () => {
    const there = smallRun();
    const here = smallRun();
    // of user two, crayon gets two more right and one less
    const at = here.cells.findIndex(({ cell: c }) => c.strategy === 'crayon' && c.user.name === 'two');
    here.cells[at] = cell(user('two', 'unseen-kind'), 'crayon', bits('two', '1011'));
    const { rows } = compare(here, there);
    const row = rows.find((r) => r.strategy === 'crayon')!;
    expect(row).toMatchObject({ here: 0.75, there: 0.625, examples: 8 });
    expect(row.difference.estimate).toBe(0.125);
    expect(row.users.map((u) => [u.user, u.here, u.there, u.difference.estimate])).toEqual([
      ['one', 0.75, 0.75, 0],
      ['two', 0.75, 0.5, 0.25],
    ]);
    expect(row.users[0]!.difference).toEqual({ estimate: 0, low: 0, high: 0 });
    expect(row.users[1]!.difference.low).toBeLessThan(0);
  });

  it('with itself differs by nothing, and leaves out nothing', () => {
    const { rows, remarks } = compare(smallRun(), smallRun());
    expect(rows).toHaveLength(5);
    for (const row of rows) expect(row.difference).toEqual({ estimate: 0, low: 0, high: 0 });
    expect(remarks).toEqual([]);
  });

  it('is the other way round with the sign turned', { tags: 'slow' }, () => {
    const [a, b] = [demoRun({ examples: 10, seed: 1 }), demoRun({ examples: 10, seed: 2 })];
    const [ab, ba] = [compare(a, b), compare(b, a)];
    const of = (c: typeof ab) => c.rows.find((r) => r.strategy === 'crayon' && r.options === '')!.difference.estimate;
    expect(of(ab)).toBeCloseTo(-of(ba), 12);
    expect(of(ab)).not.toBe(0);
  });

  it('of other examples is reduced to the shared ones, and says how many were left out', () => {
    const here = run([cell(who, 'base', bits('u', '111000'))]);
    const there = run([cell(who, 'base', bits('u', '1000'))]);
    const { rows, remarks } = compare(here, there);
    expect(rows[0]).toMatchObject({ examples: 4, here: 0.75, there: 0.25 });
    expect(rows[0]!.difference.estimate).toBe(0.5);
    expect(remarks.join(' ')).toContain('Reduced to the shared examples: 2 answers');
  });

  it('without any shared example is refused', () => {
    const here = run([cell(who, 'base', bits('u', '10'))]);
    const there = run([cell(user('v'), 'base', bits('v', '10'))]);
    const error = errorOf(() => compare(here, there));
    expect(error.code).toBe('bench-invalid');
    expect(error.message).toContain('no strategy has an example in common');
  });

  it('does not take an example for the same when its prompt is another', () => {
    const changed = [answer('u', 0, 1), answer('u', 1, 0, { promptHash: 'f'.repeat(64) })];
    const { rows } = compare(run([cell(who, 'base', changed)]), run([cell(who, 'base', bits('u', '01'))]));
    expect(rows[0]!.examples).toBe(1);
    expect(rows[0]!.difference.estimate).toBe(1);
  });

  it('does not compare two methods of scoring', () => {
    const generated = cell(who, 'crayon', bits('u', '11'), { method: 'generation' });
    const { rows, remarks } = compare(
      run([generated, cell(who, 'base', bits('u', '10'))]),
      run([cell(who, 'crayon', bits('u', '00')), cell(who, 'base', bits('u', '10'))]),
    );
    expect(rows.map((r) => r.strategy)).toEqual(['base']);
    expect(remarks).toContain('Crayon: judged by generation here and by loglikelihood there, not compared.');
  });

  it('keeps settings of the ablation apart from the strategy itself', () => {
    const cells = (tau: string) => [
      cell(who, 'crayon', bits('u', '10')),
      cell(who, 'crayon', bits('u', tau), { table: 'ablation', options: { tau: 0.5 } }),
    ];
    const { rows } = compare(run(cells('11')), run(cells('00')));
    expect(rows.map((r) => [r.options, r.difference.estimate])).toEqual([
      ['', 0],
      ['tau = 0.5', 1],
    ]);
  });

  it('says what else is not the same', () => {
    const there = smallRun();
    const here = run(
      smallRun().cells.filter(({ cell: c }) => c.strategy !== 'lorahub'),
      { commit: 'other', base: { name: 'models/larger', parameters: 1, digest: 'b'.repeat(64) }, finished: null },
    );
    const { remarks } = compare(here, there);
    expect(remarks).toEqual([
      'Another base model: models/larger here, models/edge there.',
      'Another commit: other here, 0123456789abcdef there.',
      'This run is not finished.',
      'Only in the other run: LoraHub.',
    ]);
  });

  it('is paired at each seed, and shares seed 0 with a run without seeds', () => {
    const at = (runSeed: number, text: string) =>
      cell(who, 'base', bits('u', text), { key: `u-${runSeed}`, seed: 1000 * runSeed, runSeed });
    const several = run([at(0, '1100'), at(1, '1111')]);
    const { rows, ...rest } = compare(several, run([at(0, '1000'), at(1, '0000')]));
    expect(rows[0]).toMatchObject({ seeds: 2, examples: 8, here: 0.75, there: 0.125 });
    expect(rows[0]!.difference.estimate).toBe(0.625);
    expect(compareTables({ rows, ...rest })[0]!.head.slice(0, 3)).toEqual(['strategy', 'users', 'seeds']);
    const alone = compare(several, run([cell(who, 'base', bits('u', '1000'))]));
    expect(alone.rows[0]).toMatchObject({ seeds: 1, examples: 4 });
    expect(alone.rows[0]!.difference.estimate).toBe(0.25);
    expect(alone.remarks.join(' ')).toContain('Reduced to the shared examples: 4 answers');
  });

  it('has the remarks below its table, and clear differences marked', () => {
    const { rows, ...rest } = compare(
      run([cell(who, 'base', bits('u', '111111'))]),
      run([cell(who, 'base', bits('u', '0000'))], { seed: 8 }),
    );
    const [table, perUser] = compareTables({ rows, ...rest });
    expect(table!.rows[0]).toMatchObject({
      cells: ['Base model', '1', '4', '100.0', '0.0', '+100.0 [+100.0, +100.0]'],
      clear: [5],
    });
    expect(perUser!.rows[0]!.cells.slice(0, 3)).toEqual(['Base model', 'u', '4']);
    expect(table!.notes.join(' ')).toContain('Another seed: 7 here, 8 there.');
  });
});
