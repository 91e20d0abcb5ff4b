/** The tables of strategies and options. */

import type { Report } from './report.js';
import { type OptionRow, type StrategyRow, USER_KINDS } from './report-strategies.js';
import { type ReportTable, table } from './report-table.js';
import type { Estimate } from './report-units.js';
import * as words from './report-words.js';
import { compareReferences, isCrayon, strategyTitle } from './strategy-names.js';

/** Accuracy, the best first, and by kind of user. */
export function accuracyTable({ strategies, users, methods }: Report): ReportTable | null {
  if (strategies.length === 0) return null;
  const kinds = USER_KINDS.filter((kind) => strategies.some((row) => row.byKind[kind] !== undefined));
  const several = kinds.length > 1;
  const partial = strategies.some((row) => row.accuracy.users < users.length);
  const notes = [
    `Mean of the users' accuracies in points, with the 95 % interval of a bootstrap over each user's test examples${
      several ? '; then the mean for each kind of user' : ''
    }.`,
    methodNote(methods),
  ];
  if (partial) notes.push('A row of fewer users is not comparable with the others: see the paired differences.');
  return table(
    'accuracy',
    'Accuracy by strategy',
    ['strategy', 'users', 'accuracy', ...(several ? kinds.map((kind) => words.KIND_TITLES[kind]) : [])],
    strategies.map((row) => ({
      cells: [
        rowTitle(row, methods),
        String(row.accuracy.users),
        words.interval(row.accuracy),
        ...(several ? kinds.map((kind) => estimateOrDash(row.byKind[kind])) : []),
      ],
      strong: isCrayon(row.strategy),
    })),
    { notes },
  );
}

function methodNote(methods: Report['methods']): string {
  const titles = methods.map((method) => words.METHOD_TITLES[method]);
  if (methods.length < 2) return `Answers are judged by: ${titles[0] ?? 'nothing yet'}.`;
  return `Several methods judge the answers (${titles.join('; ')}). They are never mixed in one mean: each has its own rows.`;
}

/** With the method, where the run has more than one. */
function rowTitle({ title, method }: { title: string; method: StrategyRow['method'] }, methods: Report['methods']) {
  return methods.length > 1 ? `${title} (${method})` : title;
}

function estimateOrDash(estimate: Estimate | undefined): string {
  return estimate === undefined ? '-' : words.points(estimate.estimate);
}

/** Differences to one LoRA and to LoraHub. */
export function differenceTable({ strategies, methods }: Report): ReportTable | null {
  const references = [...new Set(strategies.flatMap((row) => row.differences.map((d) => d.reference)))].sort(
    compareReferences,
  );
  if (references.length === 0) return null;
  return table(
    'differences',
    'Differences, paired by example',
    ['strategy', ...references.map((reference) => `to ${strategyTitle(reference)}`)],
    strategies
      .filter((row) => row.differences.length > 0)
      .map((row) => {
        const found = references.map((reference) => row.differences.find((d) => d.reference === reference)?.difference);
        return {
          cells: [rowTitle(row, methods), ...found.map((d) => (d === undefined ? '-' : words.signedInterval(d)))],
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

/** Strategies down, users across: too wide for a terminal. */
export function userTable({ strategies, users, methods }: Report): ReportTable | null {
  if (strategies.length === 0 || users.length < 2) return null;
  return table(
    'users',
    'Accuracy of each user',
    ['user', 'kind', 'tasks', 'k', ...strategies.map((row) => rowTitle(row, methods))],
    users.map((user) => ({
      cells: [
        user.title,
        words.KIND_TITLES[user.kind],
        user.tasks.join(', '),
        String(user.k),
        ...strategies.map((row) => {
          const own = row.byUser.find(({ user: title }) => title === user.title);
          return estimateOrDash(own?.accuracy);
        }),
      ],
    })),
    { words: 3, notes: ['Points of accuracy.'] },
  );
}
