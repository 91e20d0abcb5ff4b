/** Two runs side by side: the same strategy on the same examples of the same user, differences paired by example; and as tables. */

import { CrayonError } from '../../core/errors.js';
import { groupBy } from '../../core/group-by.js';
import { type BootstrapOptions, DEFAULT_RESAMPLES, type Interval, meanOverStrata } from '../../core/stats.js';
import { strategyTitle } from '../strategies/names.js';
import type { ScoringMethod } from '../types.js';
import type { AnsweredCell, BenchRun } from './read.js';
import { difference, figure, type ReportTable, table, text } from './table.js';
import { compareText, pairedDifferences, type Series, seriesOf, type Unit, unitsOf } from './units.js';
import * as words from './words.js';

export interface ComparedUser {
  user: string;
  /** shared examples */
  examples: number;
  /** this run, the other, and this less the other */
  here: number;
  there: number;
  difference: Interval;
}

export interface ComparedStrategy {
  strategy: string;
  title: string;
  /** what differs from the defaults, in words; empty for the main strategies */
  options: string;
  method: ScoringMethod;
  examples: number;
  /** means over the users, on shared examples only */
  here: number;
  there: number;
  difference: Interval;
  users: ComparedUser[];
}

export interface Comparison {
  /** directories, this run first */
  here: string;
  there: string;
  rows: ComparedStrategy[];
  /** what is not the same in the two runs, and what was left out */
  remarks: string[];
}

export interface CompareOptions {
  resamples?: number;
  seed?: number;
}

/** @throws CrayonError `bench-invalid` when the runs share no example of a strategy */
export function compareRuns(
  here: BenchRun,
  there: BenchRun,
  { resamples = DEFAULT_RESAMPLES, seed = 0 }: CompareOptions = {},
): Comparison {
  const options = { resamples, seed };
  const remarks = differingSetups(here, there);
  const units = unitsOf([...here.cells, ...there.cells]);
  const [a, b] = [groupOf(here.cells), groupOf(there.cells)];
  const left = new LeftOut();
  const rows: ComparedStrategy[] = [];
  for (const [key, own] of a) {
    const others = b.get(key);
    const name = nameOf(own[0]!);
    if (others === undefined) {
      left.here.push(name);
      continue;
    }
    const otherSeries = seriesOf(others);
    for (const series of seriesOf(own)) {
      const other = otherSeries.find(({ method }) => method === series.method);
      if (other === undefined) {
        remarks.push(`${name}: judged by ${series.method} here and by ${otherSeries[0]!.method} there, not compared.`);
        continue;
      }
      const row = compareSeries(own[0]!, series, other, units, options, left);
      if (row !== null) rows.push(row);
    }
  }
  for (const [key, others] of b) if (!a.has(key)) left.there.push(nameOf(others[0]!));
  if (rows.length === 0) {
    throw new CrayonError('bench-invalid', `${here.dir} and ${there.dir}: no strategy has an example in common`, {
      hint: 'Only runs on the same test examples, judged by the same method, can be compared.',
    });
  }
  rows.sort((x, y) => compareText(x.options, y.options) || y.here - x.here || compareText(x.strategy, y.strategy));
  return { here: here.dir, there: there.dir, rows, remarks: [...remarks, ...left.sentences()] };
}

function groupOf(cells: readonly AnsweredCell[]): Map<string, AnsweredCell[]> {
  return groupBy(cells, ({ cell }) => JSON.stringify([cell.table, cell.strategy, optionsOf(cell.options)]));
}

function optionsOf(options: AnsweredCell['cell']['options']): string {
  return Object.keys(options)
    .sort()
    .map((name) => `${name} = ${options[name]}`)
    .join(', ');
}

function nameOf({ cell }: AnsweredCell): string {
  const options = optionsOf(cell.options);
  return options === '' ? strategyTitle(cell.strategy) : `${strategyTitle(cell.strategy)} (${options})`;
}

/** What could not be compared, gathered so that it is said once. */
class LeftOut {
  readonly here: string[] = [];
  readonly there: string[] = [];
  /** examples of compared strategies and users that one of the runs has alone */
  examples = 0;
  readonly users = new Set<string>();

  sentences(): string[] {
    const result: string[] = [];
    if (this.here.length > 0) result.push(`Only in this run: ${this.here.join(', ')}.`);
    if (this.there.length > 0) result.push(`Only in the other run: ${this.there.join(', ')}.`);
    if (this.users.size > 0) {
      result.push(`Users without shared examples, left out: ${[...this.users].sort().join(', ')}.`);
    }
    if (this.examples > 0) {
      result.push(
        `Reduced to the shared examples: ${this.examples} answers, over all strategies, stand in one of the runs only.`,
      );
    }
    return result;
  }
}

function compareSeries(
  { cell }: AnsweredCell,
  here: Series,
  there: Series,
  units: readonly Unit[],
  options: BootstrapOptions,
  left: LeftOut,
): ComparedStrategy | null {
  const users: ComparedUser[] = [];
  const strata: number[][] = [];
  for (const { id, title } of units) {
    const [a, b] = [here.scores.get(id), there.scores.get(id)];
    if (a === undefined && b === undefined) continue;
    const differences = pairedDifferences(a, b);
    if (differences.length === 0) {
      left.users.add(title);
      continue;
    }
    left.examples += a!.size + b!.size - 2 * differences.length;
    const shared = [...a!.keys()].filter((example) => b!.has(example));
    strata.push(differences);
    users.push({
      user: title,
      examples: differences.length,
      here: average(shared.map((example) => a!.get(example)!)),
      there: average(shared.map((example) => b!.get(example)!)),
      difference: meanOverStrata([differences], options),
    });
  }
  if (users.length === 0) return null;
  return {
    strategy: cell.strategy,
    title: strategyTitle(cell.strategy),
    options: optionsOf(cell.options),
    method: here.method,
    examples: strata.reduce((sum, { length }) => sum + length, 0),
    here: average(users.map((user) => user.here)),
    there: average(users.map((user) => user.there)),
    difference: meanOverStrata(strata, options),
    users,
  };
}

const average = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length;

/** What else than the thing under test may explain a difference. */
function differingSetups(here: BenchRun, there: BenchRun): string[] {
  const [a, b] = [here.manifest, there.manifest];
  const remarks: string[] = [];
  const say = (what: string, x: unknown, y: unknown) => {
    if (x !== y) remarks.push(`Another ${what}: ${x ?? 'none'} here, ${y ?? 'none'} there.`);
  };
  if (a.base.digest !== b.base.digest) remarks.push(`Another base model: ${a.base.name} here, ${b.base.name} there.`);
  say('server', a.server?.name, b.server?.name);
  say('commit', a.commit, b.commit);
  say('machine', a.machine, b.machine);
  say('seed', a.seed, b.seed);
  for (const [run, name] of [
    [here, 'This run'],
    [there, 'The other run'],
  ] as const) {
    if (!run.complete) remarks.push(`${name} is not finished.`);
  }
  return remarks;
}

/** Per strategy, then per strategy and user. */
export function compareTables({ there, rows, remarks }: Comparison): ReportTable[] {
  const methods = [...new Set(rows.map((row) => row.method))];
  const title = `This run and ${there}`;
  const strategy = text('strategy', ({ title, options, method }: ComparedStrategy) =>
    words.withMethod({ title: options === '' ? title : `${title} (${options})`, method }, methods),
  );
  type Compared = Pick<ComparedUser, 'examples' | 'here' | 'there' | 'difference'>;
  const figures = [
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
    table({ id: 'compared', title, notes }, rows, [
      strategy,
      figure('users', (row) => String(row.users.length)),
      ...figures,
    ]),
    table({ id: 'compared-users', title: `${title}, user by user` }, users, [
      text('strategy', ({ name }) => name),
      text('user', ({ user }) => user),
      ...figures,
    ]),
  ].filter((drawn) => drawn !== null);
}
