/** The comparison of two runs as tables. */

import type { Comparison } from './compare.js';
import { type ReportTable, table } from './table.js';
import * as words from './words.js';

/** Per strategy, then per strategy and user. */
export function compareTables({ there, rows, remarks }: Comparison): ReportTable[] {
  const methods = new Set(rows.map((row) => row.method));
  const name = (row: Comparison['rows'][number]) =>
    [row.title, row.options === '' ? '' : `(${row.options})`, methods.size > 1 ? `(${row.method})` : '']
      .filter((part) => part !== '')
      .join(' ');
  const head = ['this run', 'the other', 'difference'];
  return [
    table(
      'compared',
      `This run and ${there}`,
      ['strategy', 'users', 'examples', ...head],
      rows.map((row) => ({
        cells: [name(row), String(row.users.length), words.count(row.examples), ...figures(row)],
        clear: words.isClear(row.difference) ? [5] : [],
      })),
      {
        notes: [
          'Points of accuracy on the examples that both runs have; differences are this run less the other, paired by example, with 95 % intervals. Those that leave out zero stand out.',
          ...remarks,
        ],
      },
    ),
    table(
      'compared-users',
      `This run and ${there}, user by user`,
      ['strategy', 'user', 'examples', ...head],
      rows.flatMap((row) =>
        row.users.map((user) => ({
          cells: [name(row), user.user, words.count(user.examples), ...figures(user)],
          clear: words.isClear(user.difference) ? [5] : [],
        })),
      ),
      { words: 2 },
    ),
  ];
}

function figures({ here, there, difference }: Pick<Comparison['rows'][number], 'here' | 'there' | 'difference'>) {
  return [words.points(here), words.points(there), words.signedInterval(difference)];
}
