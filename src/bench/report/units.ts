/**
 * Answers arranged for comparison: a *unit* is one user, a *series* is one strategy's scores on the examples of each unit.
 * Cells of several seeds of one user and strategy become one series: an example's score is its mean over the seeds, so that
 * more seeds make a steadier score and not more examples.
 */

import { type BootstrapOptions, type Interval, meanOverStrata } from '../../core/stats.js';
import type { AnswerRecord, ScoringMethod, UserInfo } from '../types.js';
import type { AnsweredCell } from './read.js';

export interface Unit extends UserInfo {
  id: string;
  /** the name, with k where the run has the user with several */
  title: string;
}

export interface Series {
  method: ScoringMethod;
  cells: AnsweredCell[];
  /** unit id -> example -> score from 0 to 1 */
  scores: Map<string, Map<string, number>>;
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
  const names = [...users.values()].map((user) => user.name);
  const order = ['seen', 'seen-kind', 'unseen-kind', 'mixture'];
  return [...users]
    .map(([id, user]) => {
      const severalK = names.filter((name) => name === user.name).length > 1;
      return { ...user, id, title: severalK ? `${user.name} (k = ${user.k})` : user.name };
    })
    .sort((a, b) => order.indexOf(a.kind) - order.indexOf(b.kind) || compareText(a.name, b.name) || a.k - b.k);
}

export function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** One series for each method among the cells of one strategy: methods are never averaged together. */
export function seriesOf(cells: readonly AnsweredCell[]): Series[] {
  const methods = [...new Set(cells.map(({ cell }) => cell.method))].sort();
  return methods.map((method) => {
    const own = cells.filter(({ cell }) => cell.method === method);
    const found = new Map<string, Map<string, number[]>>();
    for (const { cell, answers } of own) {
      const id = unitId(cell.user);
      const examples = found.get(id) ?? new Map<string, number[]>();
      found.set(id, examples);
      for (const answer of answers) {
        const example = exampleId(answer);
        const scores = examples.get(example) ?? [];
        examples.set(example, scores);
        scores.push(answer.correct);
      }
    }
    const scores = new Map(
      [...found].map(([id, examples]) => [
        id,
        new Map([...examples].map(([e, all]) => [e, all.reduce((a, b) => a + b, 0) / all.length])),
      ]),
    );
    return { method, cells: own, scores };
  });
}

export interface Estimate extends Interval {
  users: number;
  examples: number;
}

/** Mean over the units of each one's accuracy, or null without units. */
export function accuracyOf(series: Series, units: readonly Unit[], options: BootstrapOptions): Estimate | null {
  const strata = units.flatMap(({ id }) => {
    const scores = series.scores.get(id);
    return scores === undefined ? [] : [[...scores.values()]];
  });
  return estimate(strata, options);
}

/** Mean over the shared units of a - b on the shared examples of each, or null where they share none. */
export function differenceOf(a: Series, b: Series, units: readonly Unit[], options: BootstrapOptions): Estimate | null {
  const strata = units.flatMap(({ id }) => {
    const differences = pairedDifferences(a.scores.get(id), b.scores.get(id));
    return differences.length === 0 ? [] : [differences];
  });
  return estimate(strata, options);
}

export function pairedDifferences(
  a: ReadonlyMap<string, number> | undefined,
  b: ReadonlyMap<string, number> | undefined,
): number[] {
  if (a === undefined || b === undefined) return [];
  return [...a].flatMap(([example, score]) => {
    const other = b.get(example);
    return other === undefined ? [] : [score - other];
  });
}

function estimate(strata: number[][], options: BootstrapOptions): Estimate | null {
  if (strata.length === 0) return null;
  const examples = strata.reduce((sum, { length }) => sum + length, 0);
  return { ...meanOverStrata(strata, options), users: strata.length, examples };
}
