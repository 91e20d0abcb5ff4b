/** The tables of accuracy: of strategies by kind of user, examples shown and seed, the differences between them, and user by user. */

import { SCORED_THROUGH } from '../../train/completion-score.js';
import { compareReferences, isCrayon, strategyTitle } from '../strategies/index.js';
import { type ScoringMethod, USER_KINDS, type UserKind } from '../types.js';
import type { Report } from './report.js';
import type { StrategyRow } from './strategies.js';
import { type Column, difference, figure, type ReportTable, table, text, when } from './table.js';
import type { Estimate, Unit } from './units.js';
import * as words from './words.js';

export const strategyColumn = text('strategy', ({ title }: StrategyRow) => title);
export const isStrong = ({ strategy }: Pick<StrategyRow, 'strategy'>) => isCrayon(strategy);

/** Rows of one method, and what names their tables. */
interface Judged {
  method: ScoringMethod;
  suffix: string;
  rows: readonly StrategyRow[];
}

/**
 * For each method of scoring: accuracy, the best first; differences to one LoRA and to LoraHub; then by kind of user, by examples
 * shown and by seed where there are several, and what Crayon's strategies have over each other one.
 */
export function accuracyTables(report: Report): ReportTable[] {
  return report.methods.flatMap((method) => {
    const rows = report.strategies.filter((row) => row.method === method);
    const suffix = report.methods.length > 1 ? `, by ${words.METHOD_TITLES[method]}` : '';
    const judged = { method, suffix, rows };
    return [accuracyTable, differenceTable, kindTable, shownTable, seedTable, marginTable].flatMap((of) => of(judged));
  });
}

/** Of `accuracyTables`: those that a terminal leaves out, as wide or as long as they are. */
export const isWide = (id: string) => /^(kinds|margins|users)-/.test(id);

function accuracyTable({ rows, method, suffix }: Judged): ReportTable[] {
  const kinds = kindsOf(rows);
  const several = kinds.length > 1;
  const all = rows.map(({ accuracy }) => accuracy);
  const users = Math.max(...all.map((accuracy) => accuracy.users));
  const notes = [
    `${words.basis(all)}. Mean of the users' accuracies in points, with the 95 % interval of ${words.bootstrapOver(all)}${
      several ? '; then the mean for each kind of user' : ''
    }.`,
    ...when(
      all.every(({ seeds }) => seeds === 1),
      'One seed is an anecdote: how much other pools, draws and tests would differ is not in its intervals.',
    ),
    `Answers are judged by: ${words.METHOD_TITLES[method]}; ${SCORED_THROUGH.forward}.`,
    ...when(
      all.some((accuracy) => accuracy.users < users),
      'A row of fewer users is not comparable with the others: see the paired differences.',
    ),
    ...when(
      all.some(({ low, high }) => low === high),
      'An interval without width says that all answers were right, or all wrong; with few examples it is no certainty.',
    ),
  ];
  return table({ id: `accuracy-${method}`, title: `Accuracy by strategy${suffix}`, notes, isStrong }, rows, [
    strategyColumn,
    figure('users', (row) => String(row.accuracy.users)),
    figure('accuracy', (row) => words.interval(row.accuracy)),
    ...when(
      several,
      ...kinds.map((kind) =>
        figure(words.KIND_TITLES[kind], (row: StrategyRow) => words.points(row.byKind[kind]?.estimate)),
      ),
    ),
  ]);
}

/** Kinds of user that any of the rows has. */
export function kindsOf(rows: ReadonlyArray<Pick<StrategyRow, 'byKind'>>): UserKind[] {
  return USER_KINDS.filter((kind) => rows.some((row) => row.byKind[kind] !== undefined));
}

function differenceTable({ rows, method, suffix }: Judged): ReportTable[] {
  const all = rows.flatMap((row) => row.differences.map((d) => d.difference));
  const references = new Set(rows.flatMap((row) => row.differences.map((d) => d.reference)));
  return table(
    {
      id: `differences-${method}`,
      title: `Differences, paired by example${suffix}`,
      notes: all.length === 0 ? [] : [pairedNote(all)],
      isStrong,
    },
    rows.filter((row) => row.differences.length > 0),
    [
      strategyColumn,
      ...[...references]
        .sort(compareReferences)
        .map((reference) =>
          figure(`to ${strategyTitle(reference)}`, (row: StrategyRow) =>
            difference(row.differences.find((d) => d.reference === reference)?.difference),
          ),
        ),
    ],
  );
}

function pairedNote(all: readonly Estimate[]): string {
  const same = all.some(({ seeds }) => seeds > 1) ? 'users, seeds and examples' : 'users and examples';
  return `${words.basis(all)}. Points of accuracy, on the ${same} that both have, with the 95 % intervals of ${words.bootstrapOver(all)}. Those that leave out zero stand out. Nothing is corrected for the number of comparisons.`;
}

/** Accuracy in parts: a column for each that several rows may have. */
function partsTable<Part extends string | number>(
  id: string,
  title: string,
  { rows }: Judged,
  parts: readonly Part[],
  head: (part: Part) => string,
  of: (row: StrategyRow, part: Part) => Estimate | undefined,
): ReportTable[] {
  if (parts.length < 2) return [];
  const inPart = (part: Part) => rows.flatMap((row) => of(row, part) ?? []);
  const notes = [
    `${parts.map((part) => `${head(part)}: ${words.basis(inPart(part))}`).join('; ')}.`,
    `Points of accuracy, with the 95 % interval of ${words.bootstrapOver(parts.flatMap(inPart))}.`,
  ];
  return table({ id, title, notes, isStrong }, rows, [
    strategyColumn,
    ...parts.map((part) =>
      figure(head(part), (row: StrategyRow) => {
        const found = of(row, part);
        return found === undefined ? '-' : words.interval(found);
      }),
    ),
  ]);
}

function kindTable(judged: Judged): ReportTable[] {
  const { method, suffix, rows } = judged;
  const head = (kind: UserKind) => words.KIND_TITLES[kind];
  const title = `Accuracy by kind of user${suffix}`;
  return partsTable(`kinds-${method}`, title, judged, kindsOf(rows), head, (row, kind) => row.byKind[kind]);
}

function shownTable(judged: Judged): ReportTable[] {
  const { method, suffix, rows } = judged;
  const shown = [...new Set(rows.flatMap(({ byK }) => byK.map(({ k }) => k)))].sort((a, b) => a - b);
  const title = `Accuracy by number of examples shown${suffix}`;
  const of = (row: StrategyRow, k: number) => row.byK.find((part) => part.k === k)?.accuracy;
  return partsTable(`shown-${method}`, title, judged, shown, (k) => `k = ${k}`, of);
}

/** What the intervals over seeds are made of. */
function seedTable({ method, suffix, rows }: Judged): ReportTable[] {
  const seeds = [...new Set(rows.flatMap(({ bySeed }) => bySeed.map(({ seed }) => seed)))].sort((a, b) => a - b);
  if (seeds.length < 2) return [];
  const all = rows.map(({ accuracy }) => accuracy);
  const notes = [
    `${words.basis(all)}. Points of accuracy, the mean over users at each seed: it has its own pools, draws of examples and tests.`,
  ];
  return table({ id: `seeds-${method}`, title: `Accuracy at each seed${suffix}`, notes, isStrong }, rows, [
    strategyColumn,
    ...seeds.map((seed) =>
      figure(`seed ${seed}`, (row: StrategyRow) => words.points(row.bySeed.find((s) => s.seed === seed)?.accuracy)),
    ),
    figure('all', (row) => words.interval(row.accuracy)),
  ]);
}

function marginTable({ method, suffix, rows }: Judged): ReportTable[] {
  const place = ({ over }: StrategyRow['margins'][number]) => rows.findIndex((row) => row.strategy === over);
  const lines = rows.flatMap((row) =>
    row.margins.toSorted((a, b) => place(a) - place(b)).map((margin) => ({ ...margin, title: row.title })),
  );
  if (lines.length === 0) return [];
  const kinds = kindsOf(lines);
  const title = `What Crayon's strategies have over each other one, paired by example${suffix}`;
  const notes = [pairedNote(lines.map((line) => line.difference))];
  return table({ id: `margins-${method}`, title, notes }, lines, [
    text('strategy', (line) => line.title),
    text('over', ({ over }) => strategyTitle(over)),
    figure('users', (line) => String(line.difference.users)),
    figure('difference', (line) => difference(line.difference)),
    ...when(
      kinds.length > 1,
      ...kinds.map(
        (kind): Column<(typeof lines)[number]> =>
          figure(words.KIND_TITLES[kind], ({ byKind }) => difference(byKind[kind])),
      ),
    ),
  ]);
}

/** Users down, strategies across: too wide for a terminal. A user judged by two methods has two rows. */
export interface UserRow {
  user: Unit;
  method: ScoringMethod;
  title: string;
  /** in the order of `userColumns` */
  accuracies: Array<Estimate | undefined>;
}

/** Strategies in the order of their first row. */
export function userColumns({ strategies }: Report): StrategyRow[] {
  return strategies.filter((row, i) => strategies.findIndex((other) => other.strategy === row.strategy) === i);
}

export function userRows(report: Report): UserRow[] {
  const { strategies, users, methods } = report;
  const columns = userColumns(report);
  return users.flatMap((user) => {
    const ofUser = (row: StrategyRow) => row.byUser.find((u) => u.user === user.title)?.accuracy;
    const judges = methods.filter((method) => strategies.some((row) => row.method === method && ofUser(row)));
    return judges.map((method) => ({
      user,
      method,
      title: judges.length > 1 ? `${user.title} (${method})` : user.title,
      accuracies: columns.map(({ strategy }) => {
        const row = strategies.find((r) => r.strategy === strategy && r.method === method);
        return row && ofUser(row);
      }),
    }));
  });
}

/** A table for each kind of user. */
export function userTables(report: Report): ReportTable[] {
  const all = userRows(report);
  if (all.length < 2) return [];
  const columns = userColumns(report);
  return USER_KINDS.flatMap((kind) => {
    const rows = all.filter(({ user }) => user.kind === kind);
    const found = rows.flatMap((row) => row.accuracies.filter((accuracy) => accuracy !== undefined));
    if (found.length === 0) return [];
    const each = found.map((accuracy) => ({ ...accuracy, users: rows.length }));
    const notes = [
      `${words.basis(each)} of each. Points of accuracy, with the 95 % interval of ${words.bootstrapOver(found)}.`,
    ];
    return table({ id: `users-${kind}`, title: `Accuracy of each user: ${words.KIND_TITLES[kind]}`, notes }, rows, [
      text('user', ({ title }) => title),
      text('tasks', ({ user }) => user.tasks.join(', ')),
      text('judged by', ({ method }) => method),
      figure('k', ({ user }) => String(user.k)),
      ...columns.map(({ title }, i) =>
        figure(title, ({ accuracies }: UserRow) => {
          const accuracy = accuracies[i];
          return accuracy === undefined ? '-' : words.wholeInterval(accuracy);
        }),
      ),
    ]);
  });
}
