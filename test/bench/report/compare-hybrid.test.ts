/** Two runs' hybrids: on the examples that both have, and only ways of routing that both know. */

import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { comparedHybridTable, compareHybrids } from '../../../src/bench/report/compare-hybrid.js';
import { readRun } from '../../../src/bench/report/read.js';
import { answer, cell, type RunContents, run, smallRun, user, writeRun } from '../../helpers/bench-run.js';
import { temporaryRoot } from '../../helpers/files.js';

const folder = temporaryRoot();
afterAll(() => rmSync(folder, { recursive: true, force: true }));
let runs = 0;
const read = (contents: RunContents) => readRun(writeRun(join(folder, `run-${runs++}`), contents));
const compare = (here: RunContents, there: RunContents) =>
  compareHybrids(read(here), read(there), { seed: 0, resamples: 100 });

/** One user of five examples; the device is right on the first two and less sure of each further one. */
const five = (confidences: number[], examples = 5) => [
  cell(
    user('u'),
    'crayon',
    confidences.map((confidence, i) => answer('u', i, i < 2 ? 1 : 0, { confidence })),
  ),
  cell(
    user('u'),
    'server',
    Array.from({ length: examples }, (_, i) => answer('u', i, 1, { source: 'in_cloud' })),
  ),
];

describe('the hybrid of two runs', () => {
  it('is that of the examples that both have on both sides', () => {
    // of the five the other run's server has answered four, so both have a gap of two answers
    const [found, ...more] = compare(run(five([5, 4, 3, 2, 1])), run(five([1, 2, 3, 4, 5], 4)));
    expect(more).toEqual([]);
    expect(found!.here.signal).toBe('confidence');
    expect([found!.here.curve.examples, found!.there.curve.examples]).toEqual([4, 4]);
    // gains 0 1 2 2 2, and 0 0 0 1 2: trapezoids 6 and 2 of 4 queries times 2
    expect(found!.here.curve.apgr).toBeCloseTo(6 / 8, 12);
    expect(found!.there.curve.apgr).toBeCloseTo(2 / 8, 12);
  });

  it('is as a table one row for each way of routing', () => {
    const both = compare(smallRun(), smallRun());
    const [table] = comparedHybridTable('other', both);
    expect(table!.rows).toHaveLength(1);
    const [title, routed, examples, here, there] = table!.rows[0]!.cells;
    expect([title, routed, examples]).toEqual(['Crayon', 'confidence', '8']);
    expect(here).toMatch(/^0\.6[23] \[/);
    expect(there).toBe(here);
  });

  it('is none where one of them has no server', () => {
    const alone = run(smallRun().cells.filter(({ cell: { strategy } }) => strategy !== 'server'));
    expect(compare(smallRun(), alone)).toEqual([]);
    expect(comparedHybridTable('other', [])).toEqual([]);
  });
});
