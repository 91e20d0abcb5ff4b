/**
 * Answers arranged for comparison: a *unit* is one user, a *series* is one strategy's scores on the examples of each unit.
 * Cells of several seeds of one user and strategy become one series: an example's score is its mean over the seeds, so that
 * more seeds make a steadier score and not more examples.
 */

import { type BootstrapOptions, groupBy, type Interval, mean, meanOverStrata } from '../../core/stats.js';
import { type AnswerRecord, type ScoringMethod, USER_KINDS, type UserInfo } from '../types.js';
import type { AnsweredCell } from './read.js';

export interface Unit extends UserInfo {
  id: string;
  /** the name, with k where the run has the user with several */
  title: string;
}

/** Example -> score from 0 to 1. */
export type Scores = ReadonlyMap<string, number>;

export interface Series {
  method: ScoringMethod;
  cells: AnsweredCell[];
  /** by unit's id */
  scores: ReadonlyMap<string, Scores>;
}

export function unitId({ name, k }: UserInfo): string {
  return `${name}\n${k}`;
}

/** An example is the same one in two cells when id and prompt agree. */
export function exampleId({ id, promptHash }: AnswerRecord): string {
  return `${id}\n${promptHash}`;
}

/** Every user of the cells, in the order of kind and name. */
export function unitsOf(cells: readonly AnsweredCell[]): Unit[] {
  const users = new Map(cells.map(({ cell }) => [unitId(cell.user), cell.user]));
  const byName = groupBy([...users.values()], ({ name }) => name);
  const place = ({ kind }: UserInfo) => USER_KINDS.indexOf(kind);
  return [...users]
    .map(([id, user]) => {
      const hasSeveralK = byName.get(user.name)!.length > 1;
      return { ...user, id, title: hasSeveralK ? `${user.name} (k = ${user.k})` : user.name };
    })
    .sort((a, b) => place(a) - place(b) || compareText(a.name, b.name) || a.k - b.k);
}

/** By code units: the same order everywhere, whatever the language of the machine. */
export function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** One series for each method among the cells of one strategy: methods are never averaged together. */
export function seriesOf(cells: readonly AnsweredCell[]): Series[] {
  return [...groupBy(cells, ({ cell }) => cell.method).values()]
    .map((judged) => ({ method: judged[0]!.cell.method, cells: judged, scores: scoresOf(judged) }))
    .sort((a, b) => compareText(a.method, b.method));
}

function scoresOf(cells: readonly AnsweredCell[]): Series['scores'] {
  const byUnit = groupBy(cells, ({ cell }) => unitId(cell.user));
  return new Map(
    [...byUnit].map(([id, ofUnit]) => {
      const byExample = groupBy(
        ofUnit.flatMap(({ answers }) => answers),
        exampleId,
      );
      return [id, new Map([...byExample].map(([example, all]) => [example, mean(all.map((a) => a.correct))]))];
    }),
  );
}

export interface Estimate extends Interval {
  users: number;
  examples: number;
}

/** Mean over the units of each one's accuracy, or null without units. */
export function accuracyOf(series: Series, units: readonly Unit[], options: BootstrapOptions): Estimate | null {
  return estimate(
    units.map(({ id }) => [...(series.scores.get(id)?.values() ?? [])]),
    options,
  );
}

/** Mean over the shared units of a - b on the shared examples of each, or null where they share none or there is no b. */
export function differenceOf(
  a: Series,
  b: Series | undefined,
  units: readonly Unit[],
  options: BootstrapOptions,
): Estimate | null {
  return estimate(
    units.map(({ id }) => pairedScores(a.scores.get(id), b?.scores.get(id)).map(([x, y]) => x - y)),
    options,
  );
}

/** Scores of the examples that both have. */
export function pairedScores(a: Scores = new Map(), b: Scores = new Map()): Array<[number, number]> {
  return [...a].flatMap(([example, score]): Array<[number, number]> => {
    const other = b.get(example);
    return other === undefined ? [] : [[score, other]];
  });
}

/** Over units that have any value. */
function estimate(all: readonly number[][], options: BootstrapOptions): Estimate | null {
  const strata = all.filter(({ length }) => length > 0);
  if (strata.length === 0) return null;
  return { ...meanOverStrata(strata, options), users: strata.length, examples: strata.flat().length };
}
