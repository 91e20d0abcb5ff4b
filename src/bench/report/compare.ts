/** Two runs side by side, and as tables: the same strategy on the same examples of the same user, paired by example. */

import { CrayonError } from '../../core/errors.js';
import { meanOfNested, nestedMean } from '../../core/nested-mean.js';
import { DEFAULT_RESAMPLES, groupBy, type Interval } from '../../core/stats.js';
import { strategyTitle } from '../strategies/index.js';
import type { Cell, ScoringMethod } from '../types.js';
import { type ComparedRouting, comparedHybridTable, compareHybrids } from './compare-hybrid.js';
import type { AnsweredCell, BenchRun } from './read.js';
import type { ReportOptions } from './report.js';
import { difference, figure, type ReportTable, table, text, when } from './table.js';
import {
  compareText,
  differenceIn,
  type PairedScore,
  pairedScores,
  type Series,
  seriesOf,
  testedIn,
  unitsOf,
} from './units.js';
import * as words from './words.js';

/** A user or a strategy in two runs; `difference` is this run less the other. */
interface Compared {
  /** shared seeds of the runs, and shared examples at them */
  seeds: number;
  examples: number;
  here: number;
  there: number;
  difference: Interval;
}

export interface ComparedUser extends Compared {
  user: string;
}

/** Means over the users, on shared examples only. */
export interface ComparedStrategy extends Compared {
  strategy: string;
  title: string;
  /** what differs from the defaults, in words; empty for the main strategies */
  options: string;
  method: ScoringMethod;
  users: ComparedUser[];
}

export interface Comparison {
  /** directories, this run first */
  here: string;
  there: string;
  rows: ComparedStrategy[];
  /** ways of routing that both runs have */
  hybrid: ComparedRouting[];
  /** what is not the same in the two runs, and what was left out */
  remarks: string[];
}

/** @throws CrayonError `bench-invalid` when the runs share no example of a strategy */
export function compareRuns(
  here: BenchRun,
  there: BenchRun,
  { resamples = DEFAULT_RESAMPLES, seed = 0 }: ReportOptions = {},
): Comparison {
  const options = { resamples, seed };
  const units = unitsOf([...here.cells, ...there.cells]);
  const [ours, theirs] = [groupsOf(here), groupsOf(there)];
  const otherwiseJudged: string[] = [];
  const usersLeft = new Set<string>();
  let answersLeft = 0;

  /** Means over users of the paired scores of each. */
  const compared = (users: ReadonlyArray<readonly PairedScore[]>): Compared => {
    const side = (name: 'here' | 'there') =>
      meanOfNested(users.map((pairs) => pairs.map((pair) => ({ ...pair, value: pair[name] }))));
    return {
      seeds: new Set(users.flat().map(({ seed }) => seed)).size,
      examples: users.reduce((sum, pairs) => sum + testedIn(pairs), 0),
      here: side('here'),
      there: side('there'),
      difference: nestedMean(
        users.map((pairs) => pairs.map(differenceIn)),
        options,
      ),
    };
  };
  const compareSeries = ({ strategy, ...cell }: Cell, a: Series, b: Series): ComparedStrategy[] => {
    const shared = units.flatMap(({ id, title }) => {
      const [all, others] = [a.scores.get(id), b.scores.get(id)];
      if (all === undefined && others === undefined) return [];
      const pairs = pairedScores(all, others);
      if (pairs.length === 0) usersLeft.add(title);
      else answersLeft += testedIn(all!) + testedIn(others!) - 2 * testedIn(pairs);
      return when(pairs.length > 0, { title, pairs });
    });
    if (shared.length === 0) return [];
    return [
      {
        strategy,
        title: strategyTitle(strategy),
        options: optionsOf(cell),
        method: a.method,
        ...compared(shared.map(({ pairs }) => pairs)),
        users: shared.map(({ title: user, pairs }) => ({ user, ...compared([pairs]) })),
      },
    ];
  };

  const rows = [...ours].flatMap(([key, cells]) => {
    const others = seriesOf(theirs.get(key) ?? []);
    return seriesOf(cells).flatMap((series) => {
      const other = others.find(({ method }) => method === series.method);
      if (other !== undefined) return compareSeries(cells[0]!.cell, series, other);
      const [instead] = others;
      if (instead !== undefined) {
        const judged = `judged by ${series.method} here and by ${instead.method} there, not compared.`;
        otherwiseJudged.push(`${nameOf(cells)}: ${judged}`);
      }
      return [];
    });
  });
  if (rows.length === 0) {
    throw new CrayonError('bench-invalid', `${here.dir} and ${there.dir}: no strategy has an example in common`, {
      hint: 'Only runs on the same test examples, judged by the same method, can be compared.',
    });
  }
  rows.sort((x, y) => compareText(x.options, y.options) || y.here - x.here || compareText(x.strategy, y.strategy));
  const missing = (from: ReturnType<typeof groupsOf>, of: typeof from) =>
    [...of].filter(([key]) => !from.has(key)).map(([, cells]) => nameOf(cells));
  const sentence = (what: string, names: readonly string[]) => when(names.length > 0, `${what}: ${names.join(', ')}.`);
  const remarks = [
    ...differingSetups(here, there),
    ...otherwiseJudged,
    ...sentence('Only in this run', missing(theirs, ours)),
    ...sentence('Only in the other run', missing(ours, theirs)),
    ...sentence('Users without shared examples, left out', [...usersLeft].sort()),
    ...when(
      answersLeft > 0,
      `Reduced to the shared examples: ${answersLeft} answers, over all strategies, stand in one of the runs only.`,
    ),
  ];
  return { here: here.dir, there: there.dir, rows, hybrid: compareHybrids(here, there, options), remarks };
}

/** Cells of one strategy with the same options. */
function groupsOf({ cells }: BenchRun): Map<string, AnsweredCell[]> {
  return groupBy(cells, ({ cell }) => JSON.stringify([cell.table, cell.strategy, optionsOf(cell)]));
}

function optionsOf({ options }: Pick<Cell, 'options'>): string {
  return Object.keys(options)
    .sort()
    .map((name) => `${name} = ${options[name]}`)
    .join(', ');
}

function nameOf([first]: readonly AnsweredCell[]): string {
  return titleWith(strategyTitle(first!.cell.strategy), optionsOf(first!.cell));
}

const titleWith = (title: string, options: string) => (options === '' ? title : `${title} (${options})`);

/** What else than the thing under test may explain a difference. */
function differingSetups(here: BenchRun, there: BenchRun): string[] {
  const [a, b] = [here.manifest, there.manifest];
  const other = (what: string, x: unknown, y: unknown, isOther = x !== y) =>
    when(isOther, `Another ${what}: ${x ?? 'none'} here, ${y ?? 'none'} there.`);
  return [
    ...other('base model', a.base.name, b.base.name, a.base.digest !== b.base.digest),
    ...other('server', a.server?.name, b.server?.name),
    ...other('commit', a.commit, b.commit),
    ...other('machine', a.machine, b.machine),
    ...other('seed', a.seed, b.seed),
    ...when(!here.complete, 'This run is not finished.'),
    ...when(!there.complete, 'The other run is not finished.'),
  ];
}

/** Per strategy, per way of routing, then per strategy and user. */
export function compareTables({ there, rows, hybrid, remarks }: Comparison): ReportTable[] {
  const methods = [...new Set(rows.map((row) => row.method))];
  const title = `This run and ${there}`;
  const strategy = text('strategy', ({ title, options, method }: ComparedStrategy) =>
    words.withMethod({ title: titleWith(title, options), method }, methods),
  );
  const figures = [
    ...when(
      rows.some((row) => row.seeds > 1),
      figure('seeds', (row: Compared) => words.count(row.seeds)),
    ),
    figure('examples', (row: Compared) => words.count(row.examples)),
    figure('this run', (row: Compared) => words.points(row.here)),
    figure('the other', (row: Compared) => words.points(row.there)),
    figure('difference', (row: Compared) => difference(row.difference)),
  ];
  const notes = [
    'Points of accuracy on the examples that both runs have; differences are this run less the other, paired by example, with 95 % intervals. Those that leave out zero stand out.',
    ...remarks,
  ];
  const users = rows.flatMap((row) => row.users.map((user) => ({ ...user, name: strategy.cell(row) })));
  return [
    ...table({ id: 'compared', title, notes }, rows, [
      strategy,
      figure('users', (row) => String(row.users.length)),
      ...figures,
    ]),
    ...comparedHybridTable(there, hybrid),
    ...table({ id: 'compared-users', title: `${title}, user by user` }, users, [
      text('strategy', ({ name }) => name),
      text('user', ({ user }) => user),
      ...figures,
    ]),
  ];
}
