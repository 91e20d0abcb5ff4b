/** The tables of strategies and options. */

import { compareReferences, isCrayon, strategyTitle } from '../strategies/names.js';
import type { ScoringMethod, UserKind } from '../types.js';
import type { Report } from './report.js';
import { type OptionRow, type StrategyRow, USER_KINDS } from './strategies.js';
import { type ReportTable, table } from './table.js';
import type { Estimate, Unit } from './units.js';
import * as words from './words.js';

/** For each method of scoring: accuracy, the best first and by kind of user; then differences to one LoRA and to LoraHub. */
export function accuracyTables(report: Report): ReportTable[] {
  return report.methods.flatMap((method) => {
    const rows = report.strategies.filter((row) => row.method === method);
    if (rows.length === 0) return [];
    const suffix = report.methods.length > 1 ? `, by ${words.METHOD_TITLES[method]}` : '';
    const differences = differenceTable(rows, method, suffix);
    return [accuracyTable(rows, method, suffix), ...(differences === null ? [] : [differences])];
  });
}

function accuracyTable(rows: readonly StrategyRow[], method: ScoringMethod, suffix: string): ReportTable {
  const kinds = kindsOf(rows);
  const several = kinds.length > 1;
  const users = Math.max(...rows.map((row) => row.accuracy.users));
  const notes = [
    `Mean of the users' accuracies in points, with the 95 % interval of a bootstrap over each user's test examples${
      several ? '; then the mean for each kind of user' : ''
    }.`,
    `Answers are judged by: ${words.METHOD_TITLES[method]}.`,
  ];
  if (rows.some((row) => row.accuracy.users < users)) {
    notes.push('A row of fewer users is not comparable with the others: see the paired differences.');
  }
  if (rows.some(({ accuracy }) => accuracy.low === accuracy.high)) {
    notes.push(
      'An interval without width says that all answers were right, or all wrong; with few examples it is no certainty.',
    );
  }
  return table(
    `accuracy-${method}`,
    `Accuracy by strategy${suffix}`,
    ['strategy', 'users', 'accuracy', ...(several ? kinds.map((kind) => words.KIND_TITLES[kind]) : [])],
    rows.map((row) => ({
      cells: [
        row.title,
        String(row.accuracy.users),
        words.interval(row.accuracy),
        ...(several ? kinds.map((kind) => estimateOrDash(row.byKind[kind])) : []),
      ],
      strong: isCrayon(row.strategy),
    })),
    { notes },
  );
}

/** Kinds of user that any of the rows has. */
export function kindsOf(rows: readonly StrategyRow[]): UserKind[] {
  return USER_KINDS.filter((kind) => rows.some((row) => row.byKind[kind] !== undefined));
}

/** With the method, where the run has more than one. */
function rowTitle({ title, method }: { title: string; method: ScoringMethod }, methods: Report['methods']) {
  return methods.length > 1 ? `${title} (${method})` : title;
}

function estimateOrDash(estimate: Estimate | undefined): string {
  return estimate === undefined ? '-' : words.points(estimate.estimate);
}

function differenceTable(rows: readonly StrategyRow[], method: ScoringMethod, suffix: string): ReportTable | null {
  const references = [...new Set(rows.flatMap((row) => row.differences.map((d) => d.reference)))].sort(
    compareReferences,
  );
  if (references.length === 0) return null;
  return table(
    `differences-${method}`,
    `Differences, paired by example${suffix}`,
    ['strategy', ...references.map((reference) => `to ${strategyTitle(reference)}`)],
    rows
      .filter((row) => row.differences.length > 0)
      .map((row) => {
        const found = references.map((reference) => row.differences.find((d) => d.reference === reference)?.difference);
        return {
          cells: [row.title, ...found.map((d) => (d === undefined ? '-' : words.signedInterval(d)))],
          strong: isCrayon(row.strategy),
          clear: found.flatMap((d, i) => (d !== undefined && words.isClear(d) ? [i + 1] : [])),
        };
      }),
    {
      notes: [
        'Points of accuracy, on the users and examples that both have, with 95 % intervals. Those that leave out zero stand out. Nothing is corrected for the number of comparisons.',
      ],
    },
  );
}

/** What each strategy costs. */
export function costTable({ strategies, methods }: Report): ReportTable | null {
  if (strategies.length === 0) return null;
  const priced = strategies.some((row) => row.costPer1000 !== null);
  const normalised = strategies.some((row) => row.accuracyNorm !== null);
  return table(
    'costs',
    'What it costs',
    [
      'strategy',
      'loss',
      ...(normalised ? ['acc_norm'] : []),
      'customise',
      'to server',
      'adapter',
      'parameters',
      'p50',
      'p95',
      ...(priced ? ['per 1,000'] : []),
    ],
    strategies.map((row) => ({
      cells: [
        rowTitle(row, methods),
        words.decimal(row.loss),
        ...(normalised ? [row.accuracyNorm === null ? '-' : words.points(row.accuracyNorm)] : []),
        words.milliseconds(row.customisationMs),
        words.bytes(row.bytesToServer),
        words.bytes(row.adapterBytes),
        words.count(row.adapterParameters),
        words.milliseconds(row.latencyP50),
        words.milliseconds(row.latencyP95),
        ...(priced ? [words.decimal(row.costPer1000, 2)] : []),
      ],
      strong: isCrayon(row.strategy),
    })),
    {
      notes: [
        'Means over users: held-out loss in nats a token; time from the examples to a ready adapter; bytes that leave the device; adapter size and parameters; percentiles of the time of one answer alone.',
      ],
    },
  );
}

/** One option at a time, next to the defaults. */
export function ablationTable(report: Report): ReportTable | null {
  return optionTable('ablation', 'Ablation, one option at a time', report.ablation, report);
}

/** Devices and networks. */
export function conditionsTable(report: Report): ReportTable | null {
  return optionTable('conditions', 'Devices and networks', report.conditions, report);
}

function optionTable(id: string, title: string, rows: readonly OptionRow[], report: Report): ReportTable | null {
  if (rows.length === 0) return null;
  const { methods, strategies } = report;
  const isHybrid = rows.some((row) => row.serverShare > 0);
  const defaults = strategies.filter((row) => rows.some((r) => r.strategy === row.strategy && r.method === row.method));
  const says = defaults.map(
    (row) =>
      `${rowTitle(row, methods)} at its defaults has ${words.interval(row.accuracy)} and a loss of ${words.decimal(row.loss)}.`,
  );
  return table(
    id,
    title,
    [
      'strategy',
      'option',
      'setting',
      'accuracy',
      'to the defaults',
      'loss',
      'customise',
      ...(isHybrid ? ['server share', 'p50', 'p95'] : []),
    ],
    rows.map((row) => ({
      cells: [
        rowTitle({ title: strategyTitle(row.strategy), method: row.method }, methods),
        row.option,
        row.setting,
        words.interval(row.accuracy),
        row.difference === null ? '-' : words.signedInterval(row.difference),
        words.decimal(row.loss),
        words.milliseconds(row.customisationMs),
        ...(isHybrid
          ? [words.percent(row.serverShare), words.milliseconds(row.latencyP50), words.milliseconds(row.latencyP95)]
          : []),
      ],
      clear: row.difference !== null && words.isClear(row.difference) ? [4] : [],
    })),
    { words: 3, notes: ['Points of accuracy; differences are paired by example, with 95 % intervals.', ...says] },
  );
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
    const own = methods.filter((method) =>
      strategies.some((row) => row.method === method && row.byUser.some((u) => u.user === user.title)),
    );
    return own.map((method) => ({
      user,
      method,
      title: own.length > 1 ? `${user.title} (${method})` : user.title,
      accuracies: columns.map(({ strategy }) => {
        const row = strategies.find((r) => r.strategy === strategy && r.method === method);
        return row?.byUser.find((u) => u.user === user.title)?.accuracy;
      }),
    }));
  });
}

export function userTable(report: Report): ReportTable | null {
  const rows = userRows(report);
  if (rows.length < 2) return null;
  return table(
    'users',
    'Accuracy of each user',
    ['user', 'kind', 'tasks', 'judged by', 'k', ...userColumns(report).map((column) => column.title)],
    rows.map(({ user, method, title, accuracies }) => ({
      cells: [
        title,
        words.KIND_TITLES[user.kind],
        user.tasks.join(', '),
        method,
        String(user.k),
        ...accuracies.map(estimateOrDash),
      ],
    })),
    { words: 4, notes: ['Points of accuracy.'] },
  );
}
