/** How good choices by evidence were, on made-up runs whose every number can be worked out in the head. */

import { describe, expect, it } from 'vitest';
import { choiceSection, choicesOf } from '../../../src/bench/report/choice.js';
import { unitsOf } from '../../../src/bench/report/units.js';
import { answer, cell, run, user } from '../../helpers/bench-run.js';

const bits = (task: string, text: string) => [...text].map((bit, i) => answer(task, i, bit === '1' ? 1 : 0));
const [one, two] = [user('one'), user('two')];
const made = run([
  cell(one, 'chosen', bits('one', '1111'), { chosen: 'nearest', seed: 3 }),
  cell(one, 'nearest', bits('one', '1111'), { seed: 3 }),
  cell(one, 'nearest', bits('one', '0000'), { seed: 4 }),
  cell(one, 'base', bits('one', '0001')),
  cell(one, 'crayon', bits('one', '1110'), { options: { top_k: 2 }, table: 'ablation' }),
  cell(two, 'chosen', bits('two', '0000'), { chosen: 'sharper', seed: 3 }),
  cell(two, 'nearest', bits('two', '1111'), { seed: 3 }),
  cell(two, 'base', bits('two', '0000')),
]);
const pool = { N: 6, tau: 0.1 };
const cells = made.cells!.map(({ cell: of, answers }) => ({ cell: of, answers }));

describe('choices', () => {
  it('stand beside the candidates that the run has cells of, of the same draw where they look at examples', () => {
    const [first, second] = choicesOf(cells, pool);
    expect([...first!.candidates].map(([name, { cell: of }]) => [name, of.seed])).toEqual([
      ['top-2', 0],
      ['nearest', 3],
      ['base', 0],
    ]);
    expect([...second!.candidates.keys()]).toEqual(['nearest', 'base']);
  });

  it('are counted, and compared with each candidate that all users have', () => {
    const section = choiceSection(cells, unitsOf(cells), pool, { resamples: 100, seed: 0 })!;
    expect(section.rows.map(({ name, times }) => [name, times])).toEqual([
      ['nearest', 1],
      ['base', 0],
    ]);
    // by the first two tests of `one`, nearest and top-2 are alike, and have 2 and 1 of the other two
    expect(section).toMatchObject({ choices: 2, others: 1, ties: 1, hindsight: 1, byTests: (0.875 + 1) / 2 });
    expect(section.rows.map(({ accuracy, gain }) => [accuracy.estimate, gain.estimate])).toEqual([
      [1, -0.5],
      [0.125, 0.375],
    ]);
  });

  it('are not spoken of where there are none', () => {
    const none = cells.filter(({ cell: of }) => of.strategy !== 'chosen');
    expect(choiceSection(none, unitsOf(none), pool, { resamples: 100, seed: 0 })).toBeNull();
  });
});
